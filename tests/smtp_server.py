"""A real SMTP server for the tests: TLS, AUTH, and the moods that servers have.

    smtp_server.py DIR CERTIFICATE KEY OPTIONS

OPTIONS is JSON: {"tls": "starttls" | "implicit" | "none", "port": 0, "auth": true, "greylist": 0, "refuse": [],
"hang_after_data": false}. Prints its port when it listens. Each mail taken is left in DIR as N.eml, as it came, and as
N.json, as Python's own parser sees it; each command that matters is a line in DIR/log.
"""

import asyncio
import email
import email.policy
import json
import os
import ssl
import sys
from pathlib import Path

from aiosmtpd.smtp import SMTP, AuthResult

USER, PASSWORD = b"retraind", "pass wörd ✓".encode()


class Handler:
    def __init__(self, directory, options):
        self.directory = directory
        self.options = options
        self.refusals = {}
        self.taken = len(list(directory.glob("*.eml")))

    def log(self, line):
        with open(self.directory / "log", "a", encoding="utf-8") as file:
            print(line, file=file)

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        self.log(f"RCPT {address}")
        if address in self.options.get("refuse", []):
            return "550 5.1.1 no such user here"
        seen = self.refusals.get(address, 0)
        if seen < self.options.get("greylist", 0):
            self.refusals[address] = seen + 1
            return "451 4.7.1 greylisted, come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.taken += 1
        name = self.directory / str(self.taken)
        facts = parsed(envelope.original_content)
        facts["rcpt"] = envelope.rcpt_tos
        facts["mail_from"] = envelope.mail_from
        facts["encrypted"] = session.ssl is not None or self.options["tls"] == "implicit"
        facts["login"] = bool(session.authenticated)
        name.with_suffix(".eml").write_bytes(envelope.original_content)
        whole = name.with_suffix(".part")
        whole.write_text(json.dumps(facts), encoding="utf-8")
        whole.rename(name.with_suffix(".json"))
        self.log(f"DATA {facts['headers'].get('Message-ID')}")
        if self.options.get("hang_after_data"):
            await asyncio.sleep(600)
        return "250 taken"


def parsed(content):
    """The mail as Python's email package understands it."""
    message = email.message_from_bytes(content, policy=email.policy.default)
    parts = []
    for part in message.walk():
        facts = {"type": part.get_content_type(), "id": part.get("Content-ID"), "disposition": part.get_content_disposition()}
        if part.get_content_maintype() == "text":
            facts["text"] = part.get_content()
        elif not part.is_multipart():
            facts["bytes"] = len(part.get_content())
            facts["magic"] = part.get_content()[:8].hex()
        parts.append(facts)
    return {
        "headers": {name: str(value) for name, value in message.items()},
        "to": [[address.display_name, address.addr_spec] for address in message["To"].addresses],
        "from": [[address.display_name, address.addr_spec] for address in message["From"].addresses],
        "defects": [str(defect) for part in message.walk() for defect in part.defects],
        "header_defects": [str(d) for value in message.values() for d in getattr(value, "defects", [])],
        "longest_line": max(map(len, content.split(b"\r\n"))),
        "parts": parts,
    }


def authenticator(server, session, envelope, mechanism, data):
    fine = data.login == USER and data.password == PASSWORD
    return AuthResult(success=fine, handled=False)


async def serve(directory, context, options):
    tls, auth = options["tls"], options.get("auth", True)
    arguments = {"authenticator": authenticator, "auth_required": auth, "auth_require_tls": tls == "starttls"}
    if tls == "starttls":
        arguments.update(tls_context=context, require_starttls=True)
    handler, loop = Handler(directory, options), asyncio.get_running_loop()
    implicit = context if tls == "implicit" else None
    server = await loop.create_server(
        lambda: SMTP(handler, **arguments), "127.0.0.1", options.get("port", 0), ssl=implicit
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    # the test holds our standard input; when it is gone, so are we
    await loop.run_in_executor(None, sys.stdin.read)


def main():
    directory, certificate, key, options = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    asyncio.run(serve(Path(directory), context, json.loads(options)))
    os._exit(0)


if __name__ == "__main__":
    main()
