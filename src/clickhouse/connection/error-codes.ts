import type { FailureClass } from '../../pipeline/ports.ts';

/** The class of failures that end by themselves. */
export const PASSING: ReadonlySet<FailureClass> = new Set<FailureClass>(['unavailable', 'ambiguous', 'capacity']);

/** Keepers, replicas and shards. */
const OF_REPLICAS = [
  224, // REPLICA_IS_ALREADY_ACTIVE
  225, // NO_ZOOKEEPER
  234, // NO_REPLICA_HAS_PART
  244, // UNEXPECTED_ZOOKEEPER_ERROR
  254, // NO_ACTIVE_REPLICAS
  255, // TOO_MANY_RETRIES_TO_FETCH_PARTS
  265, // NO_AVAILABLE_REPLICA
  285, // TOO_FEW_LIVE_REPLICAS
  286, // UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
  289, // REPLICA_IS_NOT_IN_QUORUM
  297, // SHARD_HAS_NO_CONNECTIONS
  308, // UNEXPECTED_NODE_IN_ZOOKEEPER
  319, // UNKNOWN_STATUS_OF_INSERT
  369, // ALL_REPLICAS_ARE_STALE
  416, // REPLICA_STATUS_CHANGED
  571, // DATABASE_REPLICATION_FAILED
  593, // ZERO_COPY_REPLICATION_ERROR
  709, // CANNOT_GET_REPLICATED_DATABASE_SNAPSHOT
  904, // TOO_MANY_UNAVAILABLE_SHARDS
  999, // KEEPER_EXCEPTION
];

/** Failures of the servers that share a table, wherever in an insert they occur. */
export const isOfReplicas = (code: number): boolean => code === 242 || OF_REPLICAS.includes(code);

/**
 * ClickHouse's error numbers by what they mean for an insert, after its src/Common/ErrorCodes.cpp. A number not listed
 * is `unknown`. A transient failure is `unavailable` where it occurs before anything is written, `ambiguous` where it
 * may occur in the middle.
 */
const CLASS_OF_CODE = new Map<number, FailureClass>([
  ...classed('unavailable', [
    202, // TOO_MANY_SIMULTANEOUS_QUERIES
    203, // NO_FREE_CONNECTION
    242, // TABLE_IS_READ_ONLY
    279, // ALL_CONNECTION_TRIES_FAILED
    700, // USER_SESSION_LIMIT_EXCEEDED
    733, // TABLE_IS_BEING_RESTARTED
    749, // TCP_CONNECTION_LIMIT_REACHED
    762, // HTTP_CONNECTION_LIMIT_REACHED
    763, // SESSION_REFUSED
  ]),
  // Streams, sockets and files.
  ...classed('ambiguous', [
    3, // UNEXPECTED_END_OF_FILE
    23, // CANNOT_READ_FROM_ISTREAM
    24, // CANNOT_WRITE_TO_OSTREAM
    74, // CANNOT_READ_FROM_FILE_DESCRIPTOR
    75, // CANNOT_WRITE_TO_FILE_DESCRIPTOR
    76, // CANNOT_OPEN_FILE
    77, // CANNOT_CLOSE_FILE
    86, // RECEIVED_ERROR_FROM_REMOTE_IO_SERVER
    95, // CANNOT_READ_FROM_SOCKET
    96, // CANNOT_WRITE_TO_SOCKET
    198, // DNS_ERROR
    204, // CANNOT_FSYNC
    209, // SOCKET_TIMEOUT
    210, // NETWORK_ERROR
    294, // CANNOT_WRITE_TO_FILE
    425, // SYSTEM_ERROR
    499, // S3_ERROR
    500, // AZURE_BLOB_STORAGE_ERROR
    586, // CANNOT_CREATE_FILE
    660, // HDFS_ERROR
    734, // CANNOT_WRITE_AFTER_BUFFER_CANCELED
    747, // FILECACHE_CANNOT_WRITE_THROUGH_CACHE_WITH_CONCURRENT_READS
    771, // CACHE_CANNOT_WRITE_TO_CACHE_DISK
    1000, // POCO_EXCEPTION
    1002, // UNKNOWN_EXCEPTION
  ]),
  ...classed('ambiguous', OF_REPLICAS),
  // Time limits, locks, and cancelled work.
  ...classed('ambiguous', [
    159, // TIMEOUT_EXCEEDED
    160, // TOO_SLOW
    216, // QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING: a proxy has sent it twice
    236, // ABORTED
    373, // SESSION_IS_LOCKED
    384, // PART_IS_TEMPORARILY_LOCKED
    394, // QUERY_WAS_CANCELLED
    411, // PTHREAD_ERROR
    473, // DEADLOCK_AVOIDED
    677, // THREAD_WAS_CANCELED
    696, // ASYNC_LOAD_CANCELED
    710, // FAULT_INJECTED
    722, // ASYNC_LOAD_WAIT_FAILED
    735, // QUERY_WAS_CANCELLED_BY_CLIENT
    738, // PART_IS_LOCKED
    741, // TABLE_UUID_MISMATCH: the table is just changing places with another
    903, // DISTRIBUTED_CACHE_REGISTRY_SHUTDOWN
  ]),
  ...classed('capacity', [
    173, // CANNOT_ALLOCATE_MEMORY
    201, // QUOTA_EXCEEDED
    241, // MEMORY_LIMIT_EXCEEDED
    243, // NOT_ENOUGH_SPACE
    252, // TOO_MANY_PARTS; "too many partitions" is told apart in errors.ts
    290, // LIMIT_EXCEEDED
    364, // RECEIVED_ERROR_TOO_MANY_REQUESTS
    439, // CANNOT_SCHEDULE_TASK
    574, // DISTRIBUTED_TOO_MANY_PENDING_BYTES
    692, // TOO_MANY_MUTATIONS
    745, // SERVER_OVERLOADED
    776, // RESOURCE_LIMIT_EXCEEDED
    777, // MEMORY_RESERVATION_KILLED
    778, // MEMORY_RESERVATION_FAILED
  ]),
  ...classed('operator', [
    16, // NO_SUCH_COLUMN_IN_TABLE
    47, // UNKNOWN_IDENTIFIER
    60, // UNKNOWN_TABLE
    81, // UNKNOWN_DATABASE
    115, // UNKNOWN_SETTING
    164, // READONLY
    192, // UNKNOWN_USER
    193, // WRONG_PASSWORD
    194, // REQUIRED_PASSWORD
    195, // IP_ADDRESS_NOT_ALLOWED
    218, // TABLE_IS_DROPPED
    291, // DATABASE_ACCESS_DENIED
    381, // HTTP_LENGTH_REQUIRED: something in between has rewritten the request
    452, // SETTING_CONSTRAINT_VIOLATION
    497, // ACCESS_DENIED
    511, // UNKNOWN_ROLE
    512, // SET_NON_GRANTED_ROLE
    516, // AUTHENTICATION_FAILED
    720, // USER_EXPIRED
  ]),
  ...classed('data', [
    6, // CANNOT_PARSE_TEXT
    25, // CANNOT_PARSE_ESCAPE_SEQUENCE
    26, // CANNOT_PARSE_QUOTED_STRING
    27, // CANNOT_PARSE_INPUT_ASSERTION_FAILED
    38, // CANNOT_PARSE_DATE
    41, // CANNOT_PARSE_DATETIME
    53, // TYPE_MISMATCH
    69, // ARGUMENT_OUT_OF_BOUND
    72, // CANNOT_PARSE_NUMBER
    117, // INCORRECT_DATA
    321, // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
    349, // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
    376, // CANNOT_PARSE_UUID
    469, // VIOLATED_CONSTRAINT
  ]),
]);

/** The failure class of an error number alone. */
export const classOfCode = (code: number): FailureClass => CLASS_OF_CODE.get(code) ?? 'unknown';

function classed(failureClass: FailureClass, codes: readonly number[]): [number, FailureClass][] {
  return codes.map((code) => [code, failureClass]);
}
