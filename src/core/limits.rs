//! The bounds of the product, one constant each, and the relations that must hold between them.

/// Bytes of a network name or a container id. Container ids are 64 hexadecimal digits in practice.
pub const NAME_BYTES: usize = 253;

/// Bytes of the hash that makes a cluster's identity. They suffice for clusters that nobody made to
/// collide on purpose.
pub(crate) const IDENTITY_HASH_BYTES: usize = 8;

/// Bytes of an interface name: Linux' `IFNAMSIZ` less its terminating zero.
pub const INTERFACE_BYTES: usize = 15;

/// Bytes of stdin that are read.
pub const STDIN_BYTES: usize = 4 << 20;

/// Longest time in which a runtime writes all of stdin and closes it, in milliseconds.
pub const STDIN_MS: u64 = 10_000;

/// Bytes of a file that a config names: a flat file, a certificate, a password.
pub const FILE_BYTES: usize = 1 << 20;

/// Bytes of a path: Linux' `PATH_MAX`.
pub const PATH_BYTES: usize = 4096;

/// Characters of a value that an error or a log line shows.
pub const SHOWN_CHARACTERS: usize = 100;

/// Remarks of one invocation. Further remarks would tell nothing new.
pub const REMARKS: usize = 64;

/// Endpoints of etcd. Each has a client of its own.
pub const ENDPOINTS: usize = 32;

/// Bytes of `CNI_ARGS` that are read.
pub const CNI_ARGS_BYTES: usize = 64 << 10;

/// Ranges, requested addresses and configured `addresses` of one attachment together. Each is one
/// address that the one transaction reserves.
pub const WANTS: usize = 8;

/// Exclusions of a range.
pub(crate) const EXCLUSIONS: usize = 1024;

/// Intervals of a range that an object of the datastore `kubernetes` states as usable: those between all exclusions and
/// gateways.
pub const USABLE_INTERVALS: usize = EXCLUSIONS + 64;

/// Bytes of a network's statement of its ranges in the store. 1,000 exclusions fit into it.
pub const NETWORK_BYTES: usize = 4 << 10;

/// Bytes of all statements of networks with their names: those of more than 10,000 networks. A tenant may make any number of
/// networks, and the page counts the addresses of all statements for each scrape.
pub const NETWORKS_BYTES: usize = 1 << 20;

/// Statements of networks that one transaction writes or deletes.
pub const NETWORKS_PER_COMMIT: usize = 50;

/// Intervals of one range whose first blocks one read covers. A range with more intervals costs
/// another read for each further group of intervals, once the earlier groups are full.
pub(crate) const INTERVALS_PER_READ: usize = 8;

/// Open blocks after the first block of an interval that one read returns. A batch can fill that
/// many blocks before it reads again.
pub(crate) const OPEN_BLOCKS_PER_READ: u32 = 4;

/// Further reads of one decision. A decision that needs more ends its operation.
pub const READS_PER_DECISION: usize = 4 * (EXCLUSIONS / INTERVALS_PER_READ + 1);

/// Compares, and operations, that one etcd transaction may have (`--max-txn-ops`, default 128).
pub const TRANSACTION_OPERATIONS: usize = 128;

/// Tickets that a holder reads at once: more than one batch can serve.
pub const TICKETS_PER_READ: u32 = 64;

/// Largest number of tickets in one read. A read is that large only if the oldest tickets cannot be
/// served. All tickets with a shared seat fit twice.
pub const TICKETS_PER_LOOK: u32 = 8_192;

/// Seats of a queue for each verb, a power of two. With more seats, the holder of a busy range
/// visits more keys for each batch. With fewer seats, a requester more often finds another's ticket
/// at its seat.
pub const SEATS: u16 = 2048;

/// Operations of the smallest batch: one demand with an address for every want, and its ticket.
pub const LEAST_BATCH_OPERATIONS: usize = 16;

/// Questions about blocks in a batch, on behalf of the next batch.
pub const QUERIES_PER_BATCH: usize = 24;

/// Further tickets in a batch that a served DEL cancels.
pub const CANCELLED_PER_BATCH: usize = 4;

/// An ADD takes over only if its first answer comes so soon after its start. An ADD of the old container may have waited
/// for etcd while its runtime began anew and added the new container: to it, that one's claim would be the older one.
pub const PROMPT_MS: u64 = 4_000;

/// Tries of one ADD. Each further try follows a change of the claim that the ADD renews.
pub(crate) const ADD_ROUNDS: usize = 16;

/// Tries of one DEL. Each further try follows a change of the attachment's claim or tickets.
pub(crate) const DEL_ROUNDS: usize = 16;

/// Batches that a holder with an offered lock commits before it binds the lock to a lease.
pub const BATCHES_WITHOUT_LEASE: usize = 4;

/// Batches a holder commits before it hands the lock to the next ticket.
pub const BATCHES_PER_HOLD: usize = 16;

/// Demands in a large batch. After a large batch, further requesters are probably on their way.
pub const MANY: usize = 4;

/// Time to live of the lease of a lock, in seconds.
pub const LOCK_TTL_S: i64 = 10;

/// Time that a waiter polls before it watches, as a multiple of the time of its put. A holder
/// serves a burst of some hundred requests in that time, and a watch costs etcd more than a few
/// reads.
pub const ROUND_TRIPS_BEFORE_WATCH: u32 = 16;

/// Longest time that a waiter polls before it watches, in milliseconds. At an overloaded server a put takes seconds, and
/// the polls of all waiters would delay the holders that serve them.
pub const WATCH_AFTER_MS: u64 = 500;

/// Time that a waiter trusts its watch before it reads again, in milliseconds. It bounds the delay
/// after a holder has crashed and its lease has ended.
pub const LOOK_AGAIN_MS: u64 = 2_000;

/// Least time in which a waiter takes the other processes for alive, as a multiple of the time of
/// its put. A live successor may need that long to use the lock that it was offered.
pub const LOOK_AGAIN_ROUND_TRIPS: u32 = 4;

/// Deadline of ADD when the config has no `timeout`, in milliseconds.
pub const ADD_DEADLINE_MS: u64 = 60_000;

/// Deadline of DEL, CHECK and GC when the config has no `timeout`, in milliseconds.
pub const DEL_DEADLINE_MS: u64 = 30_000;

/// Deadline of STATUS, in milliseconds. A runtime asks every few seconds and waits for the answer.
pub const STATUS_DEADLINE_MS: u64 = 900;

/// Part of a deadline that remains for settling an unknown commit and for leaving the queue, in
/// milliseconds. It is at most a quarter of the deadline.
pub const SETTLE_MS: u64 = 5_000;

/// Largest `timeout`, in seconds.
pub const TIMEOUT_S: u64 = 3_600;

/// First bound of one attempt at a request, in milliseconds. The bound doubles after each attempt
/// that exceeds it.
pub const ATTEMPT_MS: u64 = 1_000;

/// Longest time for which a request is sent again that the API server denies, in milliseconds. A server that has just started
/// denies everything, until it has read the roles.
pub const DENIED_MS: u64 = 3_000;

/// Largest bound of one attempt at a request, in milliseconds.
pub const LONGEST_ATTEMPT_MS: u64 = 8_000;

/// Least bound of an attempt, as a multiple of the time of an earlier answer. A busy server still carries out a commit
/// that its sender gave up, and must then settle its outcome, too.
pub const ATTEMPT_ROUND_TRIPS: u32 = 4;

/// First pause between two attempts, in milliseconds.
pub const RETRY_MS: u64 = 10;

/// Longest pause between two attempts, in milliseconds.
pub const LONGEST_RETRY_MS: u64 = 1_000;

/// Longest pause after the answer that the server has too many requests, in milliseconds. A refusal costs the server time, too, and
/// thousands of processes may wait.
pub const LONGEST_BUSY_RETRY_MS: u64 = 8_000;

/// Delay after which the first read also goes to the next endpoint, in milliseconds.
pub const STAGGER_MS: u64 = 30;

/// Longest time for sending spans to a collector if the config states none, in milliseconds.
pub const TRACE_FLUSH_MS: u64 = 100;

/// Largest `trace_flush_ms`.
pub const LONGEST_TRACE_FLUSH_MS: u64 = 5_000;

/// Spans that one execution keeps. Further spans are only counted.
pub const SPANS: usize = 2_048;

/// Bytes of a datagram of spans. Linux accepts 212,992 bytes including its own overhead
/// (`wmem_default`).
pub const TRACE_DATAGRAM_BYTES: usize = 128 << 10;

/// Lost reports of executions that the file beside the agent's socket counts. Further ones are not counted.
pub const LOST_REPORTS: u64 = 1 << 20;

/// Bytes of a report of an execution.
pub const REPORT_BYTES: usize = 4 << 10;

/// Ranges whose refusals have series of their own. All further ranges are one series.
pub const REFUSING_RANGES: usize = 100;

/// Bytes of spans that the agent keeps in memory for a collector that does not accept them. The
/// agent drops further spans.
pub const AGENT_BACKLOG_BYTES: usize = 16 << 20;

/// Bytes of spans in one export of the agent: half of a collector's usual limit (gRPC's 4 MiB).
pub const AGENT_BATCH_BYTES: usize = 2 << 20;

/// Time that the agent collects spans before an export, in milliseconds.
pub const AGENT_BATCH_MS: u64 = 200;

/// Longest wait of the agent for the collector's answer, in milliseconds.
pub const AGENT_EXPORT_MS: u64 = 10_000;

/// Tries of the agent to export the same spans.
pub const AGENT_EXPORT_TRIES: u32 = 6;

/// Longest time for the last export of an ending agent, in milliseconds.
pub const AGENT_FAREWELL_MS: u64 = 3_000;

/// Entries of any kind in one page of a listing.
pub const ENTRIES_PER_PAGE: u32 = 50_000;

/// Claims in one page of a listing.
pub const CLAIMS_PER_PAGE: u32 = 1_000;

/// Claims of one node in one page of a listing: each is a read of its own, and all are one request.
pub const CLAIMS_PER_PAGE_OF_NODE: u32 = 100;

/// Bytes of claims that the web page keeps in memory. Further claims are only counted, and a search
/// does not find them.
pub const PAGE_BYTES: usize = 2 << 30;

/// Claims in one answer of the web page's API.
pub const PAGE_CLAIMS: usize = 200;

/// Ranges in one answer of the web page's API.
pub const PAGE_RANGES: usize = 200;

/// Ranges whose use the web page samples each minute.
pub const PAGE_SAMPLED_RANGES: usize = 1_000;

/// Events that the web page keeps.
pub const PAGE_EVENTS: usize = 500;

/// Nodes, networks or namespaces in one answer of the web page's API, those with most claims first.
pub const PAGE_GROUPS: usize = 1_000;

/// Networks of a range in an answer of the web page's API.
pub const PAGE_NETWORKS: usize = 8;

/// Cells in one map of the web page, of one address or of several.
pub const PAGE_CELLS: usize = 1_024;

/// Rows in one map of the web page that has rows left out.
pub const PAGE_ROWS: usize = 64;

/// Busy ranges in one answer of the web page's API.
pub const PAGE_QUEUES: usize = 1_000;

/// Simultaneous HTTP connections. A further connection ends the oldest one.
pub const HTTP_CONNECTIONS: usize = 256;

/// Longest time for the head of a request, and longest pause between two requests of a connection,
/// in milliseconds.
pub const HTTP_HEAD_MS: u64 = 5_000;

/// Bytes of an AdmissionReview. A network's configuration has a few kilobytes.
pub const REVIEW_BYTES: usize = 1 << 20;

/// Longest time for the body of an AdmissionReview, in milliseconds.
pub const REVIEW_BODY_MS: u64 = 1_000;

/// Simultaneous connections to the webhook. All of their bodies together take 64 MiB.
pub const REVIEW_CONNECTIONS: usize = 64;

/// Longest time for a question of the webhook to the datastore, in milliseconds.
pub const ADMISSION_READ_MS: u64 = 800;

/// Questions of the webhook that wait for the datastore.
pub const ADMISSION_READS: usize = 64;

/// Characters of all warnings of a review. The API server shortens each of them if there are more.
pub const WARNING_CHARACTERS: usize = 4_000;

/// Blocks in one answer of the web page's API.
pub const PAGE_BLOCKS: usize = 1_024;

/// Tickets of one queue in an answer of the web page's API. Further tickets are only counted.
pub const PAGE_TICKETS: usize = 100;

/// Claims that a search examines before other requests get their turn.
pub const PAGE_SEARCH_SLICE: usize = 20_000;

/// Bytes of the text of a search.
pub const PAGE_SEARCH_BYTES: usize = 256;

/// Browsers that follow changes at the same time.
pub const PAGE_FOLLOWERS: usize = 64;

/// Shortest time between two messages about changes to one browser, in milliseconds.
pub const PAGE_NEWS_MS: u64 = 500;

/// Tools that read the store through the web page at the same time. Each may need the memory of a large answer.
pub const PAGE_READERS: usize = 2;

/// Bytes of one answer to a tool that reads the store through the web page.
pub const PAGE_ANSWER_BYTES: usize = 32 << 20;

/// Longest time for one answer of the store to a tool that reads through the web page, the wait for others included, in
/// milliseconds.
pub const PAGE_READ_MS: u64 = 30_000;

/// Longest time in which a tool must take such an answer, in milliseconds.
pub const PAGE_SEND_MS: u64 = 60_000;

/// Ranges in the metrics. Further ranges are only counted.
pub const METRIC_RANGES: usize = 1_000;

/// Nodes in the metrics with a count of claims each. The claims of further nodes are one sum.
pub const METRIC_NODES: usize = 1_000;

/// Claims that one repair of a block relies on. Together with the conditions of the block they fit
/// into one transaction.
pub const CLAIMS_PER_REPAIR: usize = 100;

/// Passes of a repair over all that is stored. One pass may not repair everything.
pub const REPAIR_PASSES: usize = 8;

/// Keys that one transaction of a restore writes or deletes.
pub const KEYS_PER_RESTORE: usize = 100;

/// Bytes of one transaction of a restore. etcd's default limit is 1.5 MiB (`--max-request-bytes`).
pub const BYTES_PER_RESTORE: usize = 1 << 20;

/// Bytes of a key or of a value in a backup: more than etcd accepts in a request by default.
pub const BACKUP_BYTES: u32 = 2 << 20;

/// Bytes of a file that the operator's tool reads whole: configs, or the state of another
/// allocator. A million addresses of another allocator take about 100 bytes each.
pub const DOCUMENT_BYTES: usize = 256 << 20;

/// Values in all documents of one such file.
pub const DOCUMENT_NODES: usize = 16 << 20;

/// Intervals of a range that an error shows.
pub const SHOWN_INTERVALS: usize = 4;

/// Bytes shown of a value that cannot be read.
pub const SHOWN_BYTES: usize = 64;

/// Largest width of a column of a table, in characters.
pub const COLUMN_CHARACTERS: usize = 128;

/// Findings of one kind that `lint` reports for one config. Further findings are only counted.
pub const FINDINGS_OF_A_KIND: usize = 8;

/// Addresses of a range that a range map shows one by one.
pub const PICTURE_ADDRESSES: u128 = 4096;

/// Cells of a range map in which each cell stands for several addresses.
pub const PICTURE_CELLS: u128 = 2048;

const _: () = assert!(CLAIMS_PER_REPAIR + 8 < TRANSACTION_OPERATIONS);
const _: () = assert!(KEYS_PER_RESTORE < TRANSACTION_OPERATIONS);
const _: () = assert!(NETWORKS_PER_COMMIT + 1 < TRANSACTION_OPERATIONS);
const _: () = assert!(NETWORKS_PER_COMMIT * NETWORK_BYTES < BYTES_PER_RESTORE);
const _: () = assert!(TICKETS_PER_READ as usize > TRANSACTION_OPERATIONS / 2 - 2);
const _: () = assert!(SEATS.is_power_of_two() && SEATS <= 0x1000);
const _: () =
    assert!(TICKETS_PER_READ < TICKETS_PER_LOOK && 4 * (SEATS as u32) <= TICKETS_PER_LOOK);
const _: () = assert!(SETTLE_MS < DEL_DEADLINE_MS && DEL_DEADLINE_MS <= ADD_DEADLINE_MS);
const _: () = assert!(AGENT_BATCH_BYTES + TRACE_DATAGRAM_BYTES < 4 << 20);
const _: () = assert!(AGENT_BATCH_BYTES < AGENT_BACKLOG_BYTES);
const _: () = assert!(PAGE_FOLLOWERS < HTTP_CONNECTIONS);
const _: () = assert!(TRACE_FLUSH_MS <= LONGEST_TRACE_FLUSH_MS);
const _: () = assert!(WATCH_AFTER_MS < LOOK_AGAIN_MS);
const _: () = assert!(ATTEMPT_MS <= LONGEST_ATTEMPT_MS && RETRY_MS <= LONGEST_RETRY_MS);
const _: () = assert!(LONGEST_RETRY_MS <= LONGEST_BUSY_RETRY_MS);
const _: () = assert!(4 * INTERVALS_PER_READ + WANTS < TRANSACTION_OPERATIONS);
