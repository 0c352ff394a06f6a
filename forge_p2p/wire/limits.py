"""How large a stranger may make anything. Part of the protocol: both ends know these numbers (`docs/protocol.md`).

Bytes unless a name says otherwise.
"""

from forge_p2p.content.delta import SIGNATURE_MAX
from forge_p2p.content.link import CHUNK_MAX
from forge_p2p.content.summary import ADDED_MAX, SUMMARY_MAX
from forge_p2p.ids import HASH_SIZE, NODE_ID_SIZE, PREFIX_SIZE

KIB = 1024
MIB = 1024 * KIB

VERSION = 1
"""The protocol version this code speaks."""

CONTROL_STREAM = 0
"""The first stream the client opens (number 0 by RFC 9000, section 2.1) carries hello and all that is no request."""

NONCE_SIZE = 32
SIGNATURE_SIZE = 64
CAPABILITIES_MAX = 64
CAPABILITY_CHARS = 32
AGENT_CHARS = 64
REASON_CHARS = 256
TOKEN_MAX = 4 * KIB

HELLO_MAX = 4 * KIB
SMALL_MAX = 2 * KIB
"""Frames with a few short fields: proofs, verdicts, pings, ends of requests. Room for fields yet to come."""
CREDENTIALS_MAX = TOKEN_MAX + 1 * KIB

REQUEST_LIMIT = 1024
"""No node may offer to answer more requests at once."""
TOLERANCE = 2
"""What a side must not exceed in open requests and bytes asked for, its peer lets pass up to twice: a request given up
counts for the one before it does for the other."""
HASHES_MAX = 1024
"""Hashes in one request: 4 MiB of content at 4 KiB a chunk."""
WANT_BYTES_MAX = 4 * MIB
"""Raw bytes one WANT may ask for."""
ANSWER_BYTES_MAX = 64 * MIB
"""Raw bytes that all open WANTs of one side may ask for: twice the window of a 1 Gbit/s path with 250 ms of delay."""
BASES_MAX = 256
"""Bases named in one WANT: 4 MiB in chunks of the least size."""
SIGNATURES_BYTES = 48 * KIB
"""All signatures in one WANT together: of 4 MiB in chunks of the usual size."""
WANT_MAX = HASHES_MAX * HASH_SIZE + BASES_MAX * (HASH_SIZE + 6) + SIGNATURES_BYTES + 2 * KIB
HAVE_QUERY_MAX = HASHES_MAX * HASH_SIZE + 1 * KIB
HAVE_MAX = HASHES_MAX // 8 + 1 * KIB
MISSING_MAX = 4 * KIB
"""1024 indexes of at most 3 bytes, and room."""

DATA_PAYLOAD_MAX = 1 * MIB
"""Stored bytes of the chunks in one DATA frame."""
DATA_MAX = DATA_PAYLOAD_MAX + 64 * KIB
CHUNK_SIZE_MAX = CHUNK_MAX
DELTA_SIGNATURE_MAX = SIGNATURE_MAX

NEWS_ITEMS_MAX = 64
NEWS_ITEM_MAX = 4 * KIB
NEWS_BYTES_MAX = 16 * KIB
"""All items of one NEWS together."""
NEWS_MAX = NEWS_BYTES_MAX + 1 * KIB

DHT_KEY_SIZE = 20
"""Kademlia's 160 bits."""
TTL_MAX = 7 * 24 * 3600
"""Seconds for which one ANNOUNCE may hold."""
NODES_COUNT = 20
"""Contacts that one answer about nodes names: a whole bucket."""
PROVIDERS_COUNT = 32
NODES_MAX = 8 * KIB
"""A contact has at most 213 bytes."""
PROVIDERS_MAX = 16 * KIB

FOLLOWS_MAX = 32
"""Roots that either side may follow at once at the other."""
FOLLOWERS_COUNT = 32
FOLLOWERS_MAX = 8 * KIB
PREFIXES_MAX = 8192
"""In one HOLDINGS."""
HOLDINGS_MAX = PREFIXES_MAX * PREFIX_SIZE + 1 * KIB

REF_RECORD_MAX = 4 * KIB
"""A record of a name has at most 2,500 bytes today."""
REF_PUT_MAX = REF_RECORD_MAX + 1 * KIB
REF_NAME_CHARS = 200
REF_RECORDS_COUNT = 64
"""Records in one answer; and no more of them than fit `REF_RECORDS_BYTES`, one of the longest at least."""
REF_RECORDS_BYTES = 64 * KIB
REF_RECORDS_MAX = REF_RECORDS_BYTES + 1 * KIB
REF_NAMES_COUNT = 128
REF_NAMES_MAX = 128 * KIB
"""128 names of 200 characters of up to four bytes each, and room."""
SEQ_MAX = (1 << 63) - 1

SUMMARY_BYTES_MAX = SUMMARY_MAX
SUMMARY_ADDED_MAX = ADDED_MAX * PREFIX_SIZE
SUMMARY_FRAME_MAX = SUMMARY_BYTES_MAX + SUMMARY_ADDED_MAX + 1 * KIB
SUMMARY_NUMBER_MAX = (1 << 63) - 1
"""Generations and positions."""
WITHHELD_LEAST = 4096
"""A holding of more chunks is not listed to who would rather reconcile: 32 KiB."""
RECONCILE_MAX = 128 * KIB
"""512 prefixes, and 1024 short names below as many more, of 16 digits or a few more."""
RECONCILED_MAX = 192 * KIB
"""512 ranges of 257 bytes, 1024 hashes, and room."""

UNKNOWN_MAX = 64 * KIB
"""A frame of an unknown type is skipped up to this length and malformed beyond it."""
UNKNOWN_FRAMES_MAX = 64
"""Skipped frames on one request's stream."""

EARLY_BYTES_MAX = 8 * KIB
"""What a client may send on request streams, all together, before its WELCOME: held, unanswered, until the verdict."""
EARLY_STREAMS_MAX = 8
HELLO_BYTES_MAX = 16 * KIB
"""What a client may send on the control stream before its WELCOME, skipped frames included."""

DEADLINE_MS_MAX = 600_000
PRIORITY_MAX = 255

assert NODE_ID_SIZE == HASH_SIZE == 32
