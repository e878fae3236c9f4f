"""pytest plugin: `import httpx` means httpx2."""

import httpx2

httpx2.alias_httpx()
