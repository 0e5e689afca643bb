"""Makes the databases of src/geo/tests.rs, by `pip install mmdb_writer`: one with the fields of MaxMind, one with those of
others."""

import pathlib

from mmdb_writer import MMDBWriter
from netaddr import IPSet

folder = pathlib.Path(__file__).parent.parent / "src" / "geo"


def write(name, kind, networks):
    writer = MMDBWriter(4, kind) if name == "flat.mmdb" else MMDBWriter(6, kind, ipv4_compatible=True)
    for network, fields in networks.items():
        writer.insert_network(IPSet([network]), fields)
    writer.to_db_file(str(folder / name))


berlin = {
    "city": {"names": {"en": "Berlin"}},
    "country": {"iso_code": "DE", "names": {"en": "Germany"}},
    "subdivisions": [{"iso_code": "BE", "names": {"en": "Land Berlin"}}],
}
monaco = {"country": {"iso_code": "MC"}}
nowhere = {"continent": {"code": "EU"}}
write(
    "maxmind.mmdb",
    "GeoLite2-City",
    {"192.0.2.0/24": berlin, "2001:db8::/32": monaco, "198.51.100.0/24": nowhere},
)
write("flat.mmdb", "ip-to-country", {
        "192.0.2.0/24": {"country": "DE"},
        "198.51.100.0/24": {"country_code": "MC"},
        "203.0.113.0/24": {"country": "Canada", "country_code": "CA"},
    })
