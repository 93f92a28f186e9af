"""Every proxy of the table satisfies the contract."""

import pytest

from rum_ray.scores import PROXIES
from rum_ray.testing import ProxyContract


class TestProxies(ProxyContract):
    @pytest.fixture(params=PROXIES)
    def proxy(self, request):
        return PROXIES[request.param]()


def test_the_table_has_each_under_its_own_name():
    assert {name: kind.name for name, kind in PROXIES.items()} == {n: n for n in PROXIES}
