//! When a lull is spent asking, and when it is slept through.

use super::super::lull::{Look, Lull};

const LARGE: usize = 256 * 1024;

/// Whether the lull is spent asking, without an answer.
fn asks_in_vain(lull: &mut Lull) -> bool {
    let mut asked = false;
    let answer: Option<()> = lull.ask(|| {
        asked = true;
        None
    });
    assert_eq!(answer, None);
    asked
}

/// Whether the lull after a read of this size is.
fn asks(lull: &mut Lull, size: usize) -> bool {
    lull.read(size);
    asks_in_vain(lull)
}

#[test]
fn only_after_a_large_read() {
    let mut lull = Lull::default();
    assert_eq!(lull.ask(|| Some(())), None, "nothing was read yet");
    assert!(!asks(&mut lull, 1024));
    assert!(asks(&mut lull, LARGE));
}

#[test]
fn an_answer_ends_it() {
    let mut lull = Lull::default();
    lull.read(LARGE);
    let mut questions = 0;
    let answer = lull.ask(|| {
        questions += 1;
        (questions == 2).then_some("data")
    });
    // A machine that stops us for longer than the patience after the first question gives no second one.
    assert!(answer == Some("data") || questions == 1);
}

#[test]
fn asking_in_vain_becomes_rare() {
    let mut lull = Lull::default();
    let asked: Vec<usize> = (0..20).filter(|_| asks(&mut lull, LARGE)).collect();
    // After each vain attempt twice as many are slept through: one, two, four, eight.
    assert_eq!(asked, [0, 2, 5, 10, 19]);
}

#[test]
fn one_answer_forgets_the_failures() {
    let mut lull = Lull::default();
    assert!(asks(&mut lull, LARGE));
    assert!(!asks(&mut lull, LARGE));
    lull.read(LARGE);
    assert_eq!(lull.ask(|| Some(())), Some(()));
    assert!(asks(&mut lull, LARGE), "as if it were the first");
}

/// Whether the wait for an answer is spent asking, in vain.
fn asks_for_answer(lull: &mut Lull) -> bool {
    lull.wrote();
    asks_in_vain(lull)
}

#[test]
fn for_an_answer_only_on_a_thread_that_waits_for_it() {
    let mut lull = Lull::default();
    assert!(!asks_for_answer(&mut lull));
    assert!(Look::Patiently.run(|| asks_for_answer(&mut lull)));
    assert!(!asks_for_answer(&mut lull));
}

#[test]
fn for_an_answer_once_after_each_write() {
    let mut lull = Lull::default();
    Look::Patiently.run(|| {
        lull.wrote();
        assert_eq!(lull.ask(|| Some(())), Some(()));
        assert_eq!(lull.ask(|| Some(())), None, "nothing was asked since");
        lull.wrote();
        lull.read(10);
        assert_eq!(lull.ask(|| Some(())), None, "it has come");
    });
}

#[test]
fn for_the_rest_of_a_response_only_on_a_thread_that_waits_for_it() {
    let mut lull = Lull::default();
    lull.awaits_rest();
    assert_eq!(lull.ask(|| Some(())), None);
    Look::Patiently.run(|| {
        lull.awaits_rest();
        assert!(lull.awaits_answer());
        assert_eq!(lull.ask(|| Some(())), Some(()));
        assert_eq!(lull.ask(|| Some(())), None, "it was asked for once");
        lull.awaits_rest();
        lull.read(10);
        assert_eq!(lull.ask(|| Some(())), None, "it has come");
    });
}

#[test]
fn a_rest_that_is_late_costs_no_answer_its_turn() {
    let mut lull = Lull::default();
    Look::Patiently.run(|| {
        for _ in 0..20 {
            lull.wrote();
            assert_eq!(lull.ask(|| Some(())), Some(()));
            lull.awaits_rest();
            assert_eq!(lull.ask(|| None::<()>), None);
        }
    });
}

#[test]
fn asking_for_answers_in_vain_becomes_rare() {
    let mut lull = Lull::default();
    let asked: Vec<usize> =
        Look::Patiently.run(|| (0..20).filter(|_| asks_for_answer(&mut lull)).collect());
    assert_eq!(asked, [0, 2, 5, 10, 19]);
}

/// Whether a thread that is about to be patient learns that it pays, and then asks for an answer in vain.
fn asks_later(lull: &mut Lull) -> bool {
    lull.wrote();
    let (asked, pays) = Look::Patiently.before(|| {
        assert!(!lull.awaits_answer());
        lull.ask(|| Some(()))
    });
    assert_eq!(asked, None, "it is not time yet");
    let asked = pays && Look::Patiently.run(|| asks_in_vain(lull));
    assert_eq!(asked, pays);
    asked
}

#[test]
fn before_patience_it_is_told_whether_asking_will_pay() {
    let mut lull = Lull::default();
    let asked: Vec<usize> = (0..20).filter(|_| asks_later(&mut lull)).collect();
    // As often as those who ask at once.
    assert_eq!(asked, [0, 2, 5, 10, 19]);
}

#[test]
fn before_patience_nothing_is_expected_that_was_not_asked_for() {
    let mut lull = Lull::default();
    lull.awaits_rest();
    assert_eq!(
        Look::Patiently.before(|| lull.awaits_answer()),
        (false, false)
    );
}

#[test]
fn in_passing_it_is_asked_once() {
    let mut lull = Lull::default();
    Look::InPassing.run(|| {
        lull.wrote();
        let mut questions = 0;
        let answer: Option<()> = lull.ask(|| {
            questions += 1;
            None
        });
        assert_eq!((answer, questions), (None, 1));
        lull.awaits_rest();
        assert_eq!(
            lull.ask(|| Some(())),
            None,
            "of an answer, not of the rest of it"
        );
    });
}

/// Whether a thread that is about to come by learns that it pays, and then asks for an answer in vain.
fn asks_in_passing(lull: &mut Lull) -> bool {
    lull.wrote();
    let (_, pays) = Look::InPassing.before(|| lull.awaits_answer());
    assert_eq!(pays && Look::InPassing.run(|| asks_in_vain(lull)), pays);
    pays
}

#[test]
fn answers_that_take_longer_than_a_turn_cost_no_patient_look() {
    let mut lull = Lull::default();
    let asked: Vec<usize> = (0..20).filter(|_| asks_in_passing(&mut lull)).collect();
    assert_eq!(asked, [0, 2, 5, 10, 19]);
    assert!(Look::Patiently.run(|| asks_for_answer(&mut lull)));
}

#[test]
fn an_answer_that_somebody_told_of_counts_in_passing() {
    let mut lull = Lull::default();
    assert!(asks_in_passing(&mut lull));
    lull.wrote();
    Look::InPassing.run(|| lull.read(10));
    assert!(asks_in_passing(&mut lull), "as if it were the first");
    assert!(!asks_in_passing(&mut lull));
}

#[test]
fn in_passing_nobody_waits_for_a_download() {
    let mut lull = Lull::default();
    assert!(!Look::InPassing.run(|| asks(&mut lull, LARGE)));
}

#[test]
fn patience_ends_with_what_was_run_patiently() {
    let mut lull = Lull::default();
    let panicked = std::panic::catch_unwind(|| Look::Patiently.run(|| panic!("inside")));
    assert!(panicked.is_err());
    let panicked = std::panic::catch_unwind(|| Look::Patiently.before(|| panic!("inside")));
    assert!(panicked.is_err());
    assert!(!asks_for_answer(&mut lull));
}
