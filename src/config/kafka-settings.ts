/** The settings of the topic between intake and inserts, as one value, and what is wrong with them together. */
import { SETTINGS, type Values } from './settings.ts';

/** How to reach the brokers, and what to find there. */
export type KafkaSettings = {
  /** `host:port` each. */
  readonly brokers: readonly string[];
  readonly topic: string;
  /** The consumer group of the processes that insert. */
  readonly group: string;
  /** For static membership in the group; null for none. */
  readonly instanceId: string | null;
  /** null without TLS. Paths of PEM files. */
  readonly tls: {
    readonly caFile: string | null;
    readonly certFile: string | null;
    readonly keyFile: string | null;
  } | null;
  /** null without authentication. */
  readonly sasl: {
    readonly mechanism: 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512' | 'OAUTHBEARER';
    readonly username: string | null;
    readonly password: string | null;
  } | null;
};

/** null where this process's own channel stands there. Only for settings without problems. */
export function kafkaSettings(values: Values): KafkaSettings | null {
  if (values.CHANNEL !== 'kafka') return null;
  return {
    brokers: values.KAFKA_BROKERS!,
    topic: values.KAFKA_TOPIC!,
    group: values.KAFKA_TOPIC!,
    instanceId: values.KAFKA_INSTANCE_ID,
    tls: values.KAFKA_TLS!
      ? {
          caFile: values.KAFKA_TLS_CA_FILE,
          certFile: values.KAFKA_TLS_CERT_FILE,
          keyFile: values.KAFKA_TLS_KEY_FILE,
        }
      : null,
    sasl:
      values.KAFKA_SASL_MECHANISM === null
        ? null
        : {
            mechanism: values.KAFKA_SASL_MECHANISM,
            username: values.KAFKA_USERNAME,
            password: values.KAFKA_PASSWORD,
          },
  };
}

/**
 * For one of several workers: each is a member of the group by itself, and of two that share a name the brokers shut one
 * out. A worker that is restarted has its number, and so its name, again.
 */
export function kafkaSettingsOfWorker(settings: KafkaSettings, worker: number): KafkaSettings {
  const { instanceId } = settings;
  return { ...settings, instanceId: instanceId && `${instanceId}-${worker}` };
}

/** Settings of the channel that do not go together, or lack another. */
export function channelProblems(values: Values): string[] {
  const problems: string[] = [];
  const isKafka = values.CHANNEL === 'kafka';
  if (isKafka && values.KAFKA_BROKERS === null)
    problems.push(`KAFKA_BROKERS: is required with CHANNEL=kafka; accepted: ${SETTINGS.KAFKA_BROKERS.kind.accepts}`);
  if (!isKafka && values.WEIR_ROLE !== null && values.WEIR_ROLE !== 'all')
    problems.push(
      `WEIR_ROLE: ${values.WEIR_ROLE} needs a topic between intake and inserts; set CHANNEL=kafka and KAFKA_BROKERS`,
    );
  if (isKafka && values.INGEST_ACK === 'stored')
    problems.push(
      'INGEST_ACK: stored needs CHANNEL=local, since with a topic another process may do the inserts; set it to replicated',
    );
  if (!isKafka && values.INGEST_ACK === 'replicated')
    problems.push('INGEST_ACK: replicated needs brokers; set CHANNEL=kafka and KAFKA_BROKERS');
  if ((values.KAFKA_TLS_CERT_FILE === null) !== (values.KAFKA_TLS_KEY_FILE === null))
    problems.push('KAFKA_TLS_CERT_FILE: needs KAFKA_TLS_KEY_FILE, and that needs this; set both or neither');
  for (const name of ['KAFKA_TLS_CA_FILE', 'KAFKA_TLS_CERT_FILE'] as const) {
    if (values[name] !== null && values.KAFKA_TLS !== true) problems.push(`${name}: needs KAFKA_TLS=true`);
  }
  return [...problems, ...saslProblems(values)];
}

function saslProblems({ KAFKA_SASL_MECHANISM: mechanism, KAFKA_USERNAME: username, KAFKA_PASSWORD: password }: Values) {
  if (mechanism === null) {
    if (username === null && password === null) return [];
    const given = username === null ? 'KAFKA_PASSWORD' : 'KAFKA_USERNAME';
    return [`${given}: needs KAFKA_SASL_MECHANISM; accepted: ${SETTINGS.KAFKA_SASL_MECHANISM.kind.accepts}`];
  }
  const missing = (name: string) => `${name}: is required with KAFKA_SASL_MECHANISM=${mechanism}`;
  return [
    ...(username === null && mechanism !== 'OAUTHBEARER' ? [missing('KAFKA_USERNAME')] : []),
    ...(password === null ? [missing('KAFKA_PASSWORD')] : []),
  ];
}
