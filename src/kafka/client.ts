/** The connection settings, and the driver's client made of them. Everything else in this room asks through it. */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import type { Base, BaseOptions } from '@platformatic/kafka';
import type { KafkaSettings } from '../config/kafka-settings.ts';
import { KafkaFailure } from './errors.ts';

/** The driver's module, which is loaded only where Kafka is used. */
export type Driver = typeof import('@platformatic/kafka');

export const loadDriver = (): Promise<Driver> => import('@platformatic/kafka');

export type ClientTimes = {
  /** How long a connection may take to be made, login included. */
  readonly connectMs: number;
  /** After this long without an answer a connection is given up; longer than any wait that is asked for. */
  readonly requestMs: number;
};

/**
 * A client that connects when it is first asked something. Throws `KafkaFailure` where a file of the settings cannot be
 * read. `name`: what it is for, as brokers log it.
 */
export function createClient(driver: Driver, settings: KafkaSettings, name: string, times: ClientTimes): Base {
  const client = new driver.Base({ ...optionsOf(settings, times), clientId: `weir-${name}` });
  // The driver reports some failures of a connection twice, and the second time nobody listens: that would end the process.
  client.connections.on('connecting', ({ connection }) => void connection.on('error', () => {}));
  return client;
}

function optionsOf(settings: KafkaSettings, { connectMs, requestMs }: ClientTimes): Omit<BaseOptions, 'clientId'> {
  const { brokers, tls, sasl } = settings;
  return {
    bootstrapBrokers: [...brokers],
    connectTimeout: connectMs,
    requestTimeout: requestMs,
    timeout: requestMs,
    // Of its own accord the driver repeats only what finds out about the cluster, each time at the next broker: one
    // that is frozen accepts connections and answers nothing.
    retries: brokers.length,
    retryDelay: 50,
    maxInflights: 64,
    metadataMaxAge: 60_000,
    autocreateTopics: false,
    ...(tls && { tls: tlsOptionsOf(tls), tlsServerName: brokers.every((broker) => isIP(hostOf(broker)) === 0) }),
    ...(sasl && { sasl: saslOptionsOf(sasl) }),
  };
}

const hostOf = (broker: string): string => broker.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');

function tlsOptionsOf({ caFile, certFile, keyFile }: NonNullable<KafkaSettings['tls']>): object {
  return {
    ...(caFile !== null && { ca: read('KAFKA_TLS_CA_FILE', caFile) }),
    ...(certFile !== null && { cert: read('KAFKA_TLS_CERT_FILE', certFile) }),
    ...(keyFile !== null && { key: read('KAFKA_TLS_KEY_FILE', keyFile) }),
  };
}

function read(setting: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    const code = String((error as NodeJS.ErrnoException).code);
    throw new KafkaFailure(`${setting}: the file cannot be read (${code})`, { cause: error });
  }
}

function saslOptionsOf({ mechanism, username, password }: NonNullable<KafkaSettings['sasl']>) {
  if (mechanism === 'OAUTHBEARER') return { mechanism, token: password ?? '' };
  return { mechanism, username: username ?? '', password: password ?? '' };
}
