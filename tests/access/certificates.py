"""Certificates for tests, in files: an authority, and what it issues."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


class Authority:
    """Issues certificates into a folder; its own is `root`."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        now = datetime.now(UTC)
        self.root = folder / f"{name}.pem"
        self.root.write_bytes(self._signed(self._name, self._key, now - DAY, now + DAY, None))

    def issue(
        self,
        name: str = "localhost",
        key: Any = None,
        begins_in: timedelta = -DAY,
        ends_in: timedelta = DAY,
        file: str = "server",
        key_form: Any = None,
    ) -> tuple[Path, Path]:
        """The files of a certificate and its key."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        certificate, key_file = self._folder / f"{file}.pem", self._folder / f"{file}.key"
        names = [x509.DNSName(name), x509.UniformResourceIdentifier(f"spiffe://test/{name}")]
        pem = self._signed(_name(name), key, now + begins_in, now + ends_in, x509.SubjectAlternativeName(names))
        for path, content in (
            (certificate, pem),
            (key_file, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, key_form or NoEncryption())),
        ):
            path.write_bytes(content)
            path.chmod(0o600)
        return certificate, key_file

    def _signed(
        self, subject: x509.Name, key: Any, begins: datetime, ends: datetime, names: x509.SubjectAlternativeName | None
    ) -> bytes:
        builder = (
            x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number(), begins, ends)
            .add_extension(x509.BasicConstraints(ca=names is None, path_length=None), critical=True)
        )  # fmt: skip
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
