import pytest

from lab import Platform


@pytest.fixture(scope="module")
def platform(request):
    """A running platform, one for each test file."""
    p = Platform(request.module.__name__.replace("test_", "")[:8])
    try:
        p.up()
        yield p
    finally:
        p.close()
