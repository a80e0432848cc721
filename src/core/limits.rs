//! Every bound of the product, named, with the relations that must hold between them.

/// Bytes of a network name or a container id. Container ids are 64 hexadecimal digits in practice.
pub const NAME_BYTES: usize = 253;

/// Bytes of the hash that a cluster's identity is made of: it tells clusters apart that were not made to be alike.
pub const IDENTITY_HASH_BYTES: usize = 8;

/// Bytes of an interface name: Linux' `IFNAMSIZ` less its terminating zero.
pub const INTERFACE_BYTES: usize = 15;

/// Bytes of stdin that are read.
pub const STDIN_BYTES: usize = 4 << 20;

/// How long a runtime may take to write all of stdin and to close it, in milliseconds.
pub const STDIN_MS: u64 = 10_000;

/// Bytes of a file that a config points at: a flat file, a certificate, a password.
pub const FILE_BYTES: usize = 1 << 20;

/// Bytes of a path: Linux' `PATH_MAX`.
pub const PATH_BYTES: usize = 4096;

/// Characters of a value that an error or a log line shows.
pub const SHOWN_CHARACTERS: usize = 100;

/// Remarks that one invocation leaves; what is beyond them would say nothing new.
pub const REMARKS: usize = 64;

/// Endpoints of etcd, of which each is a client.
pub const ENDPOINTS: usize = 32;

/// Bytes of `CNI_ARGS` that are looked at.
pub const CNI_ARGS_BYTES: usize = 64 << 10;

/// Ranges, requested addresses and configured `addresses` of one attachment together: each is one
/// address that is reserved in the one transaction.
pub const WANTS: usize = 8;

/// Exclusions of a range.
pub const EXCLUSIONS: usize = 1024;

/// Intervals of one range whose first blocks one read covers. Ranges that are split into more
/// intervals cost another read for each further group, when the ones before are full.
pub const INTERVALS_PER_READ: usize = 8;

/// Open blocks after an interval's first that one read returns: what a batch may step through.
pub const OPEN_BLOCKS_PER_READ: u32 = 4;

/// Further reads that one decision may ask for before its operation ends as unavailable.
pub const READS_PER_DECISION: usize = 4 * (EXCLUSIONS / INTERVALS_PER_READ + 1);

/// Compares, and operations, that one etcd transaction may have (`--max-txn-ops`, default 128).
pub const TRANSACTION_OPERATIONS: usize = 128;

/// Tickets that a holder reads at once: more than a batch can serve.
pub const TICKETS_PER_READ: u32 = 64;

/// Tickets that are read at once at most, where the oldest of them cannot be served: all that have a shared seat, and
/// as many again.
pub const TICKETS_PER_LOOK: u32 = 8_192;

/// Seats of a queue for each verb, a power of two. Of more, the holder of a busy range walks over more
/// keys for each batch; of fewer, more of those who come find another's ticket at their seat.
pub const SEATS: u16 = 2048;

/// Operations of the smallest batch: one demand for an address of every want, with its ticket.
pub const LEAST_BATCH_OPERATIONS: usize = 16;

/// Questions about blocks that a batch asks for the next one.
pub const QUERIES_PER_BATCH: usize = 24;

/// Room in a batch for tickets that a served DEL takes along.
pub const CANCELLED_PER_BATCH: usize = 4;

/// Times that ADD is decided because the claim that it was to take over has changed.
pub const ADD_ROUNDS: usize = 16;

/// Times that DEL looks again because its attachment has changed under it.
pub const DEL_ROUNDS: usize = 16;

/// Batches that are committed by one to whom the lock is offered, before it binds the lock to a lease.
pub const BATCHES_WITHOUT_LEASE: usize = 4;

/// Batches a holder commits before it hands the lock to the next ticket.
pub const BATCHES_PER_HOLD: usize = 16;

/// Demands that are many for one batch: so many others may be on their way.
pub const MANY: usize = 4;

/// How often the holder looks for more tickets after such a batch before it gives up the lock: who comes
/// next has put its ticket after three round trips.
pub const LOOKS_FOR_MORE: usize = 3;

/// Time to live asked for a lock's lease, in seconds.
pub const LOCK_TTL_S: i64 = 10;

/// For how many times what its put took a waiter looks for itself before it watches. A burst of some
/// hundred is served by then, and a watch costs etcd more than a few reads.
pub const ROUND_TRIPS_BEFORE_WATCH: u32 = 16;

/// How long a waiter trusts its watch before it looks for itself, in milliseconds: bounds the
/// delay after a holder has crashed and its lease is gone.
pub const LOOK_AGAIN_MS: u64 = 2_000;

/// For how many times what its put took a waiter takes it for granted at least that the others live: so long one to
/// whom the lock is offered may need to use it.
pub const LOOK_AGAIN_ROUND_TRIPS: u32 = 4;

/// Deadline of ADD when the config has no `timeout`, in milliseconds.
pub const ADD_DEADLINE_MS: u64 = 60_000;

/// Deadline of DEL, CHECK and GC when the config has no `timeout`, in milliseconds.
pub const DEL_DEADLINE_MS: u64 = 30_000;

/// Deadline of STATUS, in milliseconds: a runtime asks every few seconds and waits for it.
pub const STATUS_DEADLINE_MS: u64 = 900;

/// Part of a deadline that is kept for settling an unknown commit and for leaving the queue, in
/// milliseconds (at most a quarter of the deadline).
pub const SETTLE_MS: u64 = 5_000;

/// Largest `timeout`, in seconds.
pub const TIMEOUT_S: u64 = 3_600;

/// First bound of one attempt at a request, in milliseconds; doubled after each that ran out.
pub const ATTEMPT_MS: u64 = 1_000;

/// Largest bound of one attempt at a request, in milliseconds.
pub const LONGEST_ATTEMPT_MS: u64 = 8_000;

/// First pause between two attempts, in milliseconds.
pub const RETRY_MS: u64 = 10;

/// Longest pause between two attempts, in milliseconds.
pub const LONGEST_RETRY_MS: u64 = 1_000;

/// After how long the first read is sent to the next endpoint as well, in milliseconds.
pub const STAGGER_MS: u64 = 30;

/// How long sending spans to a collector may take when the config does not say, in milliseconds.
pub const TRACE_FLUSH_MS: u64 = 100;

/// Largest `trace_flush_ms`.
pub const LONGEST_TRACE_FLUSH_MS: u64 = 5_000;

/// Spans of one execution that are kept; further ones are counted.
pub const SPANS: usize = 2_048;

/// Bytes of a datagram of spans: Linux takes 212,992 with what it adds itself (`wmem_default`).
pub const TRACE_DATAGRAM_BYTES: usize = 128 << 10;

/// Bytes of memory for spans that the agent keeps for a collector that does not take them; more are
/// dropped.
pub const AGENT_BACKLOG_BYTES: usize = 16 << 20;

/// Bytes of spans that the agent sends at once: half of what a collector usually takes (gRPC's 4 MiB).
pub const AGENT_BATCH_BYTES: usize = 2 << 20;

/// How long the agent waits for more spans before it sends some, in milliseconds.
pub const AGENT_BATCH_MS: u64 = 200;

/// How long the agent waits for the collector's answer, in milliseconds.
pub const AGENT_EXPORT_MS: u64 = 10_000;

/// How often the agent tries to send the same spans.
pub const AGENT_EXPORT_TRIES: u32 = 6;

/// How long the agent may take to send what is left when it is told to end, in milliseconds.
pub const AGENT_FAREWELL_MS: u64 = 3_000;

/// Entries of any kind that one page of a listing holds.
pub const ENTRIES_PER_PAGE: u32 = 50_000;

/// Claims that one page of a listing holds.
pub const CLAIMS_PER_PAGE: u32 = 1_000;

/// Bytes of claims that the page keeps in memory; what is beyond is counted, and cannot be searched.
pub const PAGE_BYTES: usize = 2 << 30;

/// Claims that one answer of the page's API has at most.
pub const PAGE_CLAIMS: usize = 200;

/// Ranges that one answer of the page's API has at most.
pub const PAGE_RANGES: usize = 200;

/// Busy ranges that the page's API tells.
pub const PAGE_QUEUES: usize = 1_000;

/// Connections over HTTP at the same time. A further one ends the oldest.
pub const HTTP_CONNECTIONS: usize = 256;

/// How long a client may take to send the head of a request, in milliseconds, and how long a
/// connection may be idle between two requests.
pub const HTTP_HEAD_MS: u64 = 5_000;

/// Blocks that one answer of the page's API has at most.
pub const PAGE_BLOCKS: usize = 1_024;

/// Tickets of one queue that the page's API tells; the others are counted.
pub const PAGE_TICKETS: usize = 100;

/// Claims that a search looks at before others get their turn.
pub const PAGE_SEARCH_SLICE: usize = 20_000;

/// Bytes of what is searched for.
pub const PAGE_SEARCH_BYTES: usize = 256;

/// Browsers that are told of changes at the same time.
pub const PAGE_FOLLOWERS: usize = 64;

/// At most so often a browser is told of changes, in milliseconds.
pub const PAGE_NEWS_MS: u64 = 500;

/// Ranges that the metrics tell; the others are counted.
pub const METRIC_RANGES: usize = 1_000;

/// Nodes whose claims the metrics tell; the claims of the others are one sum.
pub const METRIC_NODES: usize = 1_000;

/// Claims that one repair of a block relies on: with the block's own conditions they fit into a
/// transaction.
pub const CLAIMS_PER_REPAIR: usize = 100;

/// Times that what is stored is judged and repaired again, as one pass may not reach everything.
pub const REPAIR_PASSES: usize = 8;

/// Keys that one transaction of a restore writes, or deletes.
pub const KEYS_PER_RESTORE: usize = 100;

/// Bytes of a transaction of a restore: etcd takes 1.5 MiB by default (`--max-request-bytes`).
pub const BYTES_PER_RESTORE: usize = 1 << 20;

/// Bytes of a key, and of a value, in a backup: more than etcd takes in a request by default.
pub const BACKUP_BYTES: u32 = 2 << 20;

/// Bytes of a file that the operator's tool reads whole: configs, or what another allocator has
/// remembered, of which a million addresses have about 100 bytes each.
pub const DOCUMENT_BYTES: usize = 256 << 20;

/// Values in the documents of such a file.
pub const DOCUMENT_NODES: usize = 16 << 20;

/// Bytes of a value that cannot be read that are shown.
pub const SHOWN_BYTES: usize = 64;

/// Characters to which the columns of a table grow.
pub const COLUMN_CHARACTERS: usize = 128;

/// Findings of one kind that `lint` tells of a config; the others are counted.
pub const FINDINGS_OF_A_KIND: usize = 8;

/// Addresses that a picture of a range shows one by one.
pub const PICTURE_ADDRESSES: u128 = 4096;

/// Cells that a picture has when each stands for several addresses.
pub const PICTURE_CELLS: u128 = 2048;

const _: () = assert!(CLAIMS_PER_REPAIR + 8 < TRANSACTION_OPERATIONS);
const _: () = assert!(KEYS_PER_RESTORE < TRANSACTION_OPERATIONS);
const _: () = assert!(TICKETS_PER_READ as usize > TRANSACTION_OPERATIONS / 2 - 2);
const _: () = assert!(SEATS.is_power_of_two() && SEATS <= 0x1000);
const _: () =
    assert!(TICKETS_PER_READ < TICKETS_PER_LOOK && 4 * (SEATS as u32) <= TICKETS_PER_LOOK);
const _: () = assert!(SETTLE_MS < DEL_DEADLINE_MS && DEL_DEADLINE_MS <= ADD_DEADLINE_MS);
const _: () = assert!(AGENT_BATCH_BYTES + TRACE_DATAGRAM_BYTES < 4 << 20);
const _: () = assert!(AGENT_BATCH_BYTES < AGENT_BACKLOG_BYTES);
const _: () = assert!(PAGE_FOLLOWERS < HTTP_CONNECTIONS);
const _: () = assert!(TRACE_FLUSH_MS <= LONGEST_TRACE_FLUSH_MS);
const _: () = assert!(ATTEMPT_MS <= LONGEST_ATTEMPT_MS && RETRY_MS <= LONGEST_RETRY_MS);
const _: () = assert!(4 * INTERVALS_PER_READ + WANTS < TRANSACTION_OPERATIONS);
