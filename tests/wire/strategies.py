"""Hypothesis strategies for whole messages."""

from hypothesis import strategies as st

from forge_p2p.content.codec import Codec, EncodedChunk
from forge_p2p.content.contact import Contact
from forge_p2p.content.reconcile import Answer, Question
from forge_p2p.ids import Hash
from forge_p2p.wire import messages, refs, sets
from forge_p2p.wire.fields import Body

u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFF_FFFF)
text = st.text(max_size=64)
hashes = st.integers(1, 40).flatmap(lambda count: st.binary(min_size=32 * count, max_size=32 * count))
keys = st.binary(min_size=20, max_size=20)
ttls = st.integers(0, 7 * 24 * 3600)
addresses = st.lists(st.tuples(st.ip_addresses().map(str), st.integers(1, 65_535)), max_size=8).map(tuple)
contacts = st.builds(Contact, st.binary(min_size=32, max_size=32), addresses)
records = st.lists(st.binary(max_size=900), max_size=64).map(tuple)
seqs = st.integers(0, (1 << 63) - 1)
prefixes = st.binary(max_size=80).map(lambda blob: blob[: len(blob) // 8 * 8])
digits = st.lists(st.text("0123456789abcdef", min_size=4, max_size=4), unique=True, max_size=20).map(sorted)
questions = st.builds(
    lambda salt, asked, named, names: Question(salt, tuple(asked), tuple([(each, names) for each in named])),
    st.binary(min_size=32, max_size=32),
    digits,
    digits,
    prefixes,
)
answers = st.builds(Answer, st.lists(st.binary(max_size=257), max_size=20).map(tuple), st.binary(max_size=200))
versions = st.tuples(u16, u16).map(sorted)

bodies: st.SearchStrategy[Body] = st.one_of(
    st.builds(
        lambda versions, *rest: messages.Hello(*versions, *rest),
        versions,
        st.lists(st.text(min_size=1, max_size=32), max_size=64).map(tuple),
        st.binary(min_size=32, max_size=32),
        text,
        st.integers(1, 1024),
        st.binary(max_size=32),
    ),
    st.builds(messages.Proof, st.binary(min_size=64, max_size=64)),
    st.builds(messages.Credentials, st.binary(max_size=4096)),
    st.builds(messages.Welcome, st.binary(max_size=4096)),
    st.builds(messages.Refused, u16, text),
    st.builds(messages.Ping, u32),
    st.builds(messages.Pong, u32),
    st.builds(messages.Goodbye, u16, text),
    st.builds(messages.Want, hashes, u8, st.integers(1, 600_000), st.integers(0, 4 << 20), st.booleans()),
    st.builds(
        messages.Want,
        hashes,
        u8,
        st.integers(1, 600_000),
        st.integers(0, 4 << 20),
        st.booleans(),
        st.lists(st.tuples(st.integers(0, 1023), st.binary(min_size=32, max_size=32)), max_size=20).map(tuple),
        st.lists(st.tuples(st.integers(0, 1023), st.binary(min_size=1, max_size=2000)), max_size=20).map(tuple),
        st.booleans(),
    ),
    st.builds(messages.Baseless, st.lists(st.integers(0, 1023), min_size=1, max_size=1024).map(tuple)),
    st.builds(messages.Missing, st.lists(st.integers(0, 1023), min_size=1, max_size=1024).map(tuple)),
    st.builds(messages.Done, u16, text),
    st.builds(messages.HaveQuery, hashes),
    st.builds(messages.Have, st.binary(min_size=1, max_size=128)),
    st.builds(messages.News, st.lists(st.binary(max_size=300), max_size=64).map(tuple)),
    st.builds(messages.FindNode, keys),
    st.builds(messages.Nodes.of, st.lists(contacts, max_size=20)),
    st.builds(messages.FindProviders, keys),
    st.builds(messages.Providers.of, st.lists(st.tuples(contacts, ttls), max_size=32), st.lists(contacts, max_size=20)),
    st.builds(messages.Announce.of, keys, ttls, addresses),
    st.builds(messages.Follow.of, st.binary(min_size=32, max_size=32), addresses, st.booleans()),
    st.builds(messages.Holdings, st.booleans(), st.booleans(), prefixes, st.booleans(), u32),
    st.builds(messages.Followers.of, st.lists(contacts, max_size=32)),
    st.builds(sets.SummaryQuery, seqs, seqs, u32),
    st.builds(sets.SummaryTold, seqs, seqs, st.binary(max_size=300), prefixes),
    st.builds(sets.Reconcile, st.binary(min_size=32, max_size=32), questions),
    st.builds(sets.Reconciled, answers),
    st.builds(refs.RefPut, st.binary(min_size=1, max_size=4096)),
    st.builds(refs.RefVerdict, st.binary(max_size=4096)),
    st.builds(refs.RefRead, text, seqs, st.integers(0, 64)),
    st.builds(refs.RefRecords, seqs, st.binary(min_size=32, max_size=32), records),
    st.builds(refs.RefList, text, st.integers(0, 128)),
    st.builds(refs.RefNames, st.lists(text, max_size=128).map(tuple)),
)


@st.composite
def chunks(draw: st.DrawFn) -> EncodedChunk:
    """Not real ones: nothing on the wire looks inside."""
    codec = draw(st.sampled_from(Codec))
    data = draw(st.binary(max_size=3000))
    size = len(data) if codec is Codec.RAW else draw(st.integers(len(data), 262_144))
    return EncodedChunk(Hash(bytes(32)), codec, size, data)


batches = st.lists(chunks(), min_size=1, max_size=20)
