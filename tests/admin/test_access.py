"""Tests of infernet_router.admin.access."""

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.admin.access import Access, BadToken, Role, check_token, parse_host
from tests.admin.case import AdminTestCase

OPTIONS = "/admin/v1/options"
NEEDED = "this takes a token: Authorization: Bearer TOKEN"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class HostTests(AdminTestCase):
    def test_known(self) -> None:
        """Host may be an IP address, localhost or a known name, with any port."""
        for host in ("10.0.0.1", "[::1]:4001", "localhost:4001", "R.invalid.:80", "127.0.0.1:1"):
            self.assertEqual(self.ask(OPTIONS, host=host).status, 200, host)
        self.assertEqual(self.ask(OPTIONS, host=None).status, 200)

    def test_unknown(self) -> None:
        """Any other Host is refused, on every path and with every token."""
        self.give("bob", Role.OPERATOR, "secret")
        for path in (OPTIONS, "/metrics", "/livez", "/nothing"):
            for host in ("evil.invalid", "localhost.evil.invalid", "1.2.3.4.evil.invalid", ""):
                self.assert_error(
                    path,
                    403,
                    "Host is not an IP address, localhost or named by --admin-host",
                    host=host,
                    headers=bearer("secret"),
                )

    def test_parse(self) -> None:
        """A name is read in lower case; anything else is refused."""
        self.assertEqual(parse_host("Router.Example.org"), "router.example.org")
        for text in ("", "a b", "http://a", "a:1", "a/b", "-a", "*"):
            self.assertRaises(ValueError, parse_host, text)


class ReadTests(AdminTestCase):
    def test_local(self) -> None:
        """Peers on this machine and on unix sockets read without a token."""
        for peer in ("127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", "unix"):
            self.assertEqual(self.ask(OPTIONS, peer=peer).status, 200, peer)

    def test_remote(self) -> None:
        """Others need a token, whatever X-Forwarded-For says."""
        self.give("alice", Role.VIEWER, "secret")
        for peer in ("192.0.2.9", "::ffff:192.0.2.9", "2001:db8::1"):
            headers = {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1"}
            answer = self.assert_error(OPTIONS, 401, NEEDED, peer=peer, headers=headers)
            self.assertEqual(answer.headers["www-authenticate"], "Bearer")
            self.assertEqual(self.ask(OPTIONS, peer=peer, headers=bearer("secret")).status, 200)

    def test_proxied(self) -> None:
        """Where a proxy says which peer there is, every peer needs a token."""
        root = self.root()
        root._access = Access(lambda: self.grants, ("r.invalid",), trust_local=False)
        self.assert_error(OPTIONS, 401, NEEDED, root=root)
        self.assert_error(OPTIONS, 401, NEEDED, root=root, peer="unix")

    def test_open(self) -> None:
        """Metrics and probes need no token."""
        for path in ("/metrics", "/livez", "/readyz"):
            self.assertEqual(self.ask(path, peer="192.0.2.9").status, 200, path)
        self.assertEqual(self.ask("/metrics/nodes", peer="192.0.2.9").status, 401)

    def test_wrong(self) -> None:
        """A wrong token is refused everywhere, also where none is needed."""
        self.give("alice", Role.VIEWER, "secret")
        for value in ("Bearer wrong", "Bearer", "Basic secret", "secret", "Bearer secret x"):
            for path in (OPTIONS, "/metrics", "/livez", "/nothing"):
                self.assert_error(path, 401, "the token is wrong", headers={"Authorization": value})
            root = self.metrics_root()
            headers = {"Authorization": value}
            self.assertEqual(self.ask("/metrics", root=root, headers=headers).status, 401)
        self.assertEqual(self.ask(OPTIONS, headers={"authorization": "bearer secret"}).status, 200)


class ChangeTests(AdminTestCase):
    PATH = "/admin/v1/nodes/192.0.2.1:4000/override"

    def test_none(self) -> None:
        """Nothing can be changed when there is no token."""
        for peer in ("127.0.0.1", "unix", "192.0.2.9"):
            self.assert_error(
                self.PATH,
                403,
                "no token is configured: see --admin-tokens and INFERNET_ROUTER_ADMIN_TOKEN",
                method="PUT",
                peer=peer,
            )

    def test_roles(self) -> None:
        """A change needs the token of an operator, on this machine too."""
        self.give("alice", Role.VIEWER, "one")
        self.give("bob", Role.OPERATOR, "two")
        for method, status in (("PUT", 400), ("DELETE", 404), ("POST", 405)):
            self.assert_error(self.PATH, 401, NEEDED, method=method)
            self.assert_error(
                self.PATH,
                403,
                "alice may not do this: it takes the role operator",
                method=method,
                headers=bearer("one"),
            )
            answer = self.ask(self.PATH, method=method, headers=bearer("two"))
            self.assertEqual(answer.status, status)


class TokenTests(SynchronousTestCase):
    def test_check(self) -> None:
        """A token has characters that a header can have; no message repeats it."""
        self.assertEqual(check_token("aZ0-._~+/=="), "aZ0-._~+/==")
        for token in ("", "a b", "a=b", "ü", "x" * 1001, "a\n"):
            with self.assertRaises(BadToken) as caught:
                check_token(token)
            self.assertNotIn(token or "''", str(caught.exception))
