//! Watch: whether some attributes are still what they were.
//!
//! A pool has to know, for each request, whether anybody has put something of their own between a caller and the
//! engine. It is a look into many dictionaries, which nearly always finds nothing, so it runs here.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping, PyString, PyType};
use pyo3::{PyTraverseError, PyVisit, ffi, intern};

/// Attributes, with the values that they had when the watch was made.
#[pyclass(frozen, module = "httpcore_hyper._rust")]
pub(super) struct Watch {
    watched: Vec<Watched>,
    owner: Option<Owner>,
}

/// An object that owns its watch. It is brought along for each look: kept here, it would keep itself.
struct Owner {
    kind: Py<PyType>,
    /// In its own dictionary.
    own: Vec<Seen>,
    /// Of its class, wherever that has them from.
    inherited: Vec<Seen>,
}

struct Watched {
    namespace: Namespace,
    name: Py<PyAny>,
    /// `None` where the owner itself has no such attribute.
    value: Option<Py<PyAny>>,
}

/// An owner's `__dict__`, which shows every later change.
enum Namespace {
    Dict(Py<PyDict>),
    /// Of a class whose dictionary cannot be had.
    Proxy(Py<PyMapping>),
}

#[pymethods]
impl Watch {
    #[new]
    #[pyo3(signature = (attributes, owner=None, own=Vec::new(), inherited=Vec::new()))]
    fn new(
        attributes: Vec<(Bound<'_, PyMapping>, Py<PyAny>)>,
        owner: Option<&Bound<'_, PyAny>>,
        own: Vec<Py<PyString>>,
        inherited: Vec<Py<PyString>>,
        py: Python<'_>,
    ) -> PyResult<Self> {
        let watched = attributes
            .into_iter()
            .map(|(namespace, name)| {
                let namespace = match namespace.cast_exact::<PyDict>() {
                    Ok(dict) => Namespace::Dict(dict.clone().unbind()),
                    Err(_) => Namespace::Proxy(namespace.unbind()),
                };
                let value = namespace.look_up(py, &name)?.map(Bound::unbind);
                Ok(Watched {
                    namespace,
                    name,
                    value,
                })
            })
            .collect::<PyResult<_>>()?;
        let owner = match owner {
            Some(owner) => Some(Owner::new(owner, own, inherited)?),
            None => None,
        };
        Ok(Self { watched, owner })
    }

    /// The place in the list of the first attribute that is another object now.
    pub(super) fn first_changed(&self, py: Python<'_>) -> PyResult<Option<usize>> {
        for (place, watched) in self.watched.iter().enumerate() {
            if !watched.is_unchanged(py)? {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// Whether all are what they were, the owner's among them, and the owner is of the same class.
    fn is_unchanged(&self, owner: &Bound<'_, PyAny>) -> PyResult<bool> {
        if let Some(known) = &self.owner
            && !known.is_unchanged(owner)?
        {
            return Ok(false);
        }
        Ok(self.first_changed(owner.py())?.is_none())
    }

    /// A class may hold the pool that watches it. Nothing has to be cleared here: every such circle has a dictionary.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        for watched in &self.watched {
            match &watched.namespace {
                Namespace::Dict(dict) => visit.call(dict)?,
                Namespace::Proxy(proxy) => visit.call(proxy)?,
            }
            visit.call(&watched.name)?;
            visit.call(&watched.value)?;
        }
        if let Some(owner) = &self.owner {
            visit.call(&owner.kind)?;
            for (_, value) in owner.own.iter().chain(&owner.inherited) {
                visit.call(value)?;
            }
        }
        Ok(())
    }
}

impl Owner {
    fn new(
        owner: &Bound<'_, PyAny>,
        own: Vec<Py<PyString>>,
        inherited: Vec<Py<PyString>>,
    ) -> PyResult<Self> {
        let (dictionary, kind) = (dictionary(owner)?, owner.get_type());
        Ok(Self {
            own: seen(own, |name| dictionary.get_item(name))?,
            inherited: seen(inherited, |name| kind.getattr_opt(name))?,
            kind: kind.unbind(),
        })
    }

    fn is_unchanged(&self, owner: &Bound<'_, PyAny>) -> PyResult<bool> {
        let kind = owner.get_type();
        if !kind.is(&self.kind) {
            return Ok(false);
        }
        let dictionary = dictionary(owner)?;
        for (name, value) in &self.own {
            if !holds(&dictionary, name.as_any(), value.as_ref())? {
                return Ok(false);
            }
        }
        for (name, value) in &self.inherited {
            let now = kind.getattr_opt(name)?;
            if now.as_ref().map(Bound::as_ptr) != value.as_ref().map(Py::as_ptr) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A name with what it stood for.
type Seen = (Py<PyString>, Option<Py<PyAny>>);

fn seen<'py>(
    names: Vec<Py<PyString>>,
    look_up: impl Fn(&Py<PyString>) -> PyResult<Option<Bound<'py, PyAny>>>,
) -> PyResult<Vec<Seen>> {
    let pairs = names.into_iter().map(|name| {
        let value = look_up(&name)?.map(Bound::unbind);
        Ok((name, value))
    });
    pairs.collect()
}

/// Whether a dictionary has this very value under the name, or still nothing.
#[allow(unsafe_code)] // pyo3's safe call counts references up and down, which takes as long as the look itself
fn holds(dict: &Bound<'_, PyDict>, name: &Py<PyAny>, value: Option<&Py<PyAny>>) -> PyResult<bool> {
    // SAFETY: both are live objects, the first is a dictionary, and the thread is attached, as `dict` says. The
    // pointer that comes back is compared and never followed, so that it does not matter whether the object lives.
    let now = unsafe { ffi::PyDict_GetItemWithError(dict.as_ptr(), name.as_ptr()) };
    if now.is_null()
        && let Some(error) = PyErr::take(dict.py())
    {
        return Err(error);
    }
    Ok(now == value.map_or(std::ptr::null_mut(), Py::as_ptr))
}

impl Watched {
    fn is_unchanged(&self, py: Python<'_>) -> PyResult<bool> {
        let value = self.value.as_ref();
        match (&self.namespace, value) {
            (Namespace::Dict(dict), _) => holds(dict.bind(py), &self.name, value),
            // What a class lacked is looked for, which raises nothing where it is still missing.
            (Namespace::Proxy(proxy), None) => Ok(!proxy.bind(py).contains(&self.name)?),
            (Namespace::Proxy(_), Some(value)) => {
                let now = self.namespace.look_up(py, &self.name)?;
                Ok(now.is_some_and(|now| now.is(value)))
            }
        }
    }
}

impl Namespace {
    fn look_up<'py>(
        &self,
        py: Python<'py>,
        name: &Py<PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self {
            Self::Dict(dict) => dict.bind(py).get_item(name),
            Self::Proxy(proxy) => match proxy.bind(py).as_any().get_item(name) {
                Ok(value) => Ok(Some(value)),
                Err(error) if error.is_instance_of::<pyo3::exceptions::PyKeyError>(py) => Ok(None),
                Err(error) => Err(error),
            },
        }
    }
}

fn dictionary<'py>(owner: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
    let own = owner.getattr(intern!(owner.py(), "__dict__"))?;
    Ok(own.cast_into::<PyDict>()?)
}
