/** What the driver's errors mean. Its own texts are not repeated: only codes, and what to do about them. */
import { tlsTroubleOf, type TlsTrouble } from '../net/tls.ts';

/** A broker could not be reached, or refused. The message is ours and safe to log; the driver's error is in `cause`. */
export class KafkaFailure extends Error {
  override readonly name = 'KafkaFailure';
}

/** No connection could be made, so nothing was sent. The reason is in `cause`. */
export class NotAsked extends Error {
  override readonly name = 'NotAsked';
}

/** Deeper nesting, or more errors, than any real failure has. */
const MAX_PARTS = 200;

type ErrorPart = {
  readonly message?: unknown;
  readonly code?: unknown;
  readonly apiId?: unknown;
  readonly response?: unknown;
  readonly cause?: unknown;
  readonly errors?: unknown;
};

/** The error and all that it wraps: the driver nests lists of errors and causes in each other. */
function partsOf(error: unknown): ErrorPart[] {
  const parts: ErrorPart[] = [];
  const left: unknown[] = [error];
  while (left.length > 0 && parts.length < MAX_PARTS) {
    const next = left.shift();
    if (typeof next !== 'object' || next === null) continue;
    const part: ErrorPart = next;
    parts.push(part);
    if (Array.isArray(part.errors)) left.push(...(part.errors as unknown[]));
    left.push(part.cause);
  }
  return parts;
}

/** The protocol's names of what brokers answered, such as `NOT_LEADER_OR_FOLLOWER`. Empty where no broker answered. */
export function apiErrorsOf(error: unknown): string[] {
  return partsOf(error).flatMap(({ apiId }) => (typeof apiId === 'string' ? [apiId] : []));
}

export const hasApiError = (error: unknown, ids: ReadonlySet<string>): boolean =>
  apiErrorsOf(error).some((id) => ids.has(id));

/** The driver has an error of its own for it, which names the topic. */
export const isUnknownTopic = (error: unknown): boolean =>
  hasApiError(error, UNKNOWN_TOPIC) ||
  partsOf(error).some(({ message }) => typeof message === 'string' && message.startsWith('Unknown topic'));

const UNKNOWN_TOPIC = new Set(['UNKNOWN_TOPIC_OR_PARTITION']);

/** The answer in which a broker refused some or all of what it was asked; null where none came. */
export function answerIn(error: unknown): unknown {
  return partsOf(error).find(({ response }) => response !== undefined)?.response ?? null;
}

/** A sentence for logs and pages, with the setting or the command that mends it. */
export function explainKafka(error: unknown): string {
  const parts = partsOf(error);
  const own = parts.find((part) => part instanceof KafkaFailure);
  if (own instanceof KafkaFailure) return own.message;
  const ids = apiErrorsOf(error);
  const known = ids.find((id) => ANSWERS[id] !== undefined);
  if (known !== undefined) return `${ANSWERS[known]} (${known})`;
  if (ids.length > 0) return `Kafka refused (${[...new Set(ids)].slice(0, 3).join(', ')})`;
  const said = (text: string) => parts.some(({ message }) => typeof message === 'string' && message.startsWith(text));
  const codes = parts.flatMap(({ code }) => (typeof code === 'string' && !code.startsWith('PLT_KFK_') ? [code] : []));
  for (const code of codes) {
    const trouble = tlsTroubleOf(code);
    if (trouble !== null) return `the TLS connection to Kafka failed: ${TLS[trouble]} (${code})`;
  }
  if (said('Broker requires TLS')) return 'Kafka speaks TLS at that address: set KAFKA_TLS=true';
  if (said('TLS handshake failed')) return `the TLS connection to Kafka failed: ${TLS['no handshake']}`;
  if (said('Cannot find a suitable SASL mechanism'))
    return 'Kafka ended the connection at the login: check that the listener has one (KAFKA_SASL_MECHANISM) and whether it speaks TLS (KAFKA_TLS)';
  if (isUnknownTopic(error)) return ANSWERS['UNKNOWN_TOPIC_OR_PARTITION']!;
  const [code] = codes;
  if (code !== undefined) return `no broker of KAFKA_BROKERS can be reached (${code})`;
  if (said('Connection closed'))
    return 'Kafka closes the connection: it is starting, or the listener wants a login (KAFKA_SASL_MECHANISM), TLS (KAFKA_TLS) or a certificate that it knows (KAFKA_TLS_CERT_FILE)';
  return 'Kafka does not answer';
}

const TLS: Record<TlsTrouble, string> = {
  untrusted: 'its certificate is not trusted; name the authority in KAFKA_TLS_CA_FILE',
  'out of date': 'its certificate is out of date; renew it',
  'other name': 'its certificate is for another name; use that name in KAFKA_BROKERS and advertised.listeners',
  'no handshake': 'that port does not speak TLS, or wants a client certificate (KAFKA_TLS, KAFKA_TLS_CERT_FILE)',
};

const ANSWERS: Record<string, string> = {
  SASL_AUTHENTICATION_FAILED: 'Kafka refused the login: check KAFKA_USERNAME and KAFKA_PASSWORD',
  UNSUPPORTED_SASL_MECHANISM: 'Kafka does not offer this login on that listener: check KAFKA_SASL_MECHANISM',
  ILLEGAL_SASL_STATE:
    'Kafka expects no login on that listener (leave KAFKA_SASL_MECHANISM empty), or did not take the token (KAFKA_PASSWORD), which may have expired',
  UNKNOWN_TOPIC_OR_PARTITION: 'the topic KAFKA_TOPIC does not exist: `weir channel create` makes it',
  UNKNOWN_TOPIC_ID: 'the topic KAFKA_TOPIC was deleted or made anew',
  INVALID_TOPIC_EXCEPTION: 'KAFKA_TOPIC is no valid name of a topic',
  TOPIC_AUTHORIZATION_FAILED: 'Kafka denies the user rights on the topic: it needs Read, Write and Describe',
  GROUP_AUTHORIZATION_FAILED:
    'Kafka denies the user rights on the group, which is named as KAFKA_TOPIC is: it needs Read',
  CLUSTER_AUTHORIZATION_FAILED:
    'Kafka denies the user a right on the cluster: IdempotentWrite to write, Create to make a topic',
  NOT_ENOUGH_REPLICAS:
    'fewer replicas of the topic are in sync than min.insync.replicas asks for: bring the brokers back',
  NOT_ENOUGH_REPLICAS_AFTER_APPEND:
    'fewer replicas of the topic are in sync than min.insync.replicas asks for: bring the brokers back',
  LEADER_NOT_AVAILABLE: 'a partition of the topic has no leader: bring the brokers back',
  COORDINATOR_LOAD_IN_PROGRESS: 'Kafka is starting',
  COORDINATOR_NOT_AVAILABLE: 'Kafka is starting, or its internal topics have no leader',
  NOT_LEADER_OR_FOLLOWER: 'Kafka is choosing a new leader for a partition',
  REQUEST_TIMED_OUT: 'the replicas of a partition do not confirm in time',
  NOT_COORDINATOR: 'Kafka is about to choose the broker that coordinates the group',
  KAFKA_STORAGE_ERROR: 'the disk of a broker fails',
  MESSAGE_TOO_LARGE: 'Kafka refused a record as too large: raise max.message.bytes of the topic',
  RECORD_LIST_TOO_LARGE: 'Kafka refused a record as too large: raise max.message.bytes of the topic',
  INCONSISTENT_GROUP_PROTOCOL:
    'programs that are not Weir consume in the group that is named as KAFKA_TOPIC is: give them another one',
  FENCED_INSTANCE_ID: 'another process runs with the same KAFKA_INSTANCE_ID: give each its own',
  GROUP_MAX_SIZE_REACHED:
    'the group that is named as KAFKA_TOPIC is has as many members as the brokers allow (group.max.size)',
  INVALID_SESSION_TIMEOUT: 'the brokers do not allow Weir’s session timeout (group.min/max.session.timeout.ms)',
  UNSUPPORTED_VERSION: 'this version of Kafka is too old for Weir',
  POLICY_VIOLATION: 'a policy of the brokers forbids it',
  TOPIC_ALREADY_EXISTS: 'the topic exists already',
  INVALID_REPLICATION_FACTOR: 'there are fewer brokers than replicas asked for',
};
