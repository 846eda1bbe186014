/** The topic on a real broker: what is appended is read, once and byte for byte, whatever the broker does meanwhile. */
import { randomBytes } from 'node:crypto';
import * as driver from '@platformatic/kafka';
import { describe, expect, test } from 'vitest';
import type { KafkaSettings } from '../../src/config/kafka-settings.ts';
import { createPacker } from '../../src/kafka/packing.ts';
import { topicFindings } from '../../src/kafka/topic-findings.ts';
import { createTopic, describeTopic, readChannelStatus } from '../../src/kafka/topic.ts';
import { AUTHORITY_FILE, CLIENT_FILE, GUEST, LOGIN, STRANGER_FILE } from '../support/kafka.ts';
import { API } from '../support/kafka-proxy.ts';
import { readAll, until } from '../support/kafka-reader.ts';
import { entryOf, inKafkaWorld, isWithoutKafka, soon } from '../support/kafka-topics.ts';

describe.skipIf(isWithoutKafka)('a topic on a real broker', () => {
  const world = inKafkaWorld();
  const { settingsOf, newTopic, newWriter, newReader, valuesIn } = world;

  describe('what is appended', () => {
    test('is read byte for byte, with its head, in order; records of others are told apart', async () => {
      const settings = await newTopic({ partitions: 2 });
      const writer = await newWriter(settings);
      const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, index) => (index * 7 + (index >> 8)) % 256));
      const head = Buffer.from('{"v":1,"use":[["ü",1,2]]}');
      await writer.append(1, { head, chunks: [bytes.subarray(0, 100), bytes.subarray(100)] });
      const stranger = new driver.Producer({ clientId: 'stranger', bootstrapBrokers: [world.kafka.broker] });
      await stranger.send({ messages: [{ topic: settings.topic, partition: 1, value: Buffer.from('not ours') }] });
      await stranger.close();
      await writer.append(1, { head: Buffer.from('{"v":1,"tick":true}'), chunks: [] });
      expect(await writer.partitionCount(soon())).toBe(2);

      const tenure = await (await newReader(settings)).holding(1);
      expect(tenure).toMatchObject({ start: 0, isBoundary: true, takenAt: 3, removed: 0 });
      const records = await readAll(tenure);
      expect(records.map(({ offset }) => offset)).toEqual([0, 1, 2]);
      expect(records[0]!.value.equals(bytes)).toBe(true);
      expect(records[0]!.head!.equals(head)).toBe(true);
      expect(records[1]).toMatchObject({ head: null, value: Buffer.from('not ours') });
      expect(records[2]!.value).toHaveLength(0);
    });

    test('is read beside a record that cannot be, in the same partition and in others', async () => {
      const settings = await newTopic({ partitions: 2 });
      const imitation = new driver.Producer({ clientId: 'imitation', bootstrapBrokers: [world.kafka.broker] });
      const headers = new Map([
        [Buffer.from('weir'), entryOf('damaged').head],
        [Buffer.from('weir-encoding'), Buffer.from('lz4')],
      ]);
      const value = Buffer.from('this is no LZ4');
      await imitation.send({ messages: [{ topic: settings.topic, partition: 0, value, headers }] });
      await imitation.close();
      const writer = await newWriter(settings);
      await writer.append(0, entryOf('behind'));
      await writer.append(1, entryOf('beside'));

      const reader = await newReader(settings);
      const [of, beside] = [await reader.holding(0), await reader.holding(1)];
      expect((await readAll(beside)).map((record) => record.value.toString())).toEqual(['beside\n']);
      expect(await readAll(of)).toMatchObject([
        { offset: 0, value, unreadable: 'it is damaged' },
        { offset: 1, value: Buffer.from('behind\n') },
      ]);
      expect(reader.reader.trouble()).toBeNull();
    });

    test('is read in pieces of what may be held, however small it is packed', async () => {
      const settings = await newTopic();
      const writer = await newWriter(settings);
      const maxBytes = 2 * 1024 * 1024;
      const rows = Buffer.alloc(512 * 1024, `${'{"at":"java.lang.Thread.run"},'.repeat(40)}\n`);
      for (let n = 0; n < 128; n++) await writer.append(0, { head: entryOf(`${n}`).head, chunks: [rows] });

      const tenure = await (await newReader(settings)).holding(0);
      const offsets: number[] = [];
      while (offsets.length < 128) {
        const { records } = await tenure.read(offsets.length, maxBytes);
        offsets.push(...records.map(({ offset }) => offset));
        expect(records.every(({ value }) => value.equals(rows))).toBe(true);
        expect((records.length - 1) * rows.length).toBeLessThan(maxBytes);
      }
      expect(offsets).toEqual(Array.from({ length: 128 }, (_, offset) => offset));
      expect(128 * createPacker(driver).pack([rows]).value.length).toBeLessThan(1024 * 1024);
    });

    test('is read of each partition in its turn, where every record is larger than what was asked for', async () => {
      const settings = await newTopic({ partitions: 3 });
      const writer = await newWriter(settings);
      const rows = randomBytes(200_000);
      for (let n = 0; n < 12; n++) await writer.append(n % 3, { head: entryOf(`${n}`).head, chunks: [rows] });

      const reader = await newReader(settings);
      const tenures = [await reader.holding(0), await reader.holding(1), await reader.holding(2)];
      const read = await Promise.all(
        tenures.map(async (tenure) => {
          const counts: number[] = [];
          for (let at = 0; at < 4; at += counts.at(-1)!) counts.push((await tenure.read(at, 16_384)).records.length);
          return counts;
        }),
      );
      expect(read).toEqual([1, 2, 3].map(() => [1, 1, 1, 1]));
    });

    test('is in the log once when its answer was lost', async () => {
      const settings = { ...(await newTopic()), brokers: [world.kafka.proxied] };
      const writer = await newWriter(settings);
      await writer.append(0, entryOf('first'));
      const before = world.kafka.proxy.passed(API.produce);
      world.kafka.proxy.set({ kind: 'cut-answer', api: API.produce }, { times: 2 });
      await writer.append(0, entryOf('second'));
      await writer.append(0, entryOf('third'));
      expect(world.kafka.proxy.passed(API.produce) - before).toBe(4);
      expect(await valuesIn(settings)).toEqual(['first', 'second', 'third']);
    });

    test('is in the log once when the broker is killed and comes back, and when it freezes', async () => {
      const settings = await newTopic();
      const writer = await newWriter(settings, { answerMs: 1_000 });
      await writer.append(0, entryOf('before'));
      const killed = world.kafka.kill();
      const during = writer.append(0, entryOf('killed'));
      await killed;
      await until(() => (writer.isUp() === false ? true : undefined));
      expect(writer.trouble()).toMatch(/no broker of KAFKA_BROKERS can be reached|closes the connection/);
      await world.kafka.restart();
      await during;
      await until(() => (writer.isUp() === true ? true : undefined));

      world.kafka.freeze();
      const frozen = writer.append(0, entryOf('frozen'));
      await until(() => (writer.isUp() === false ? true : undefined));
      expect(writer.trouble()).toBe('Kafka does not answer');
      world.kafka.thaw();
      await frozen;
      await until(() => (writer.trouble() === null ? true : undefined));
      expect(await valuesIn(settings)).toEqual(['before', 'killed', 'frozen']);
    });

    test('is refused when it is larger than the topic takes, and what follows is not', async () => {
      const settings = await newTopic({ settings: { 'max.message.bytes': '100000' } });
      const writer = await newWriter(settings);
      await writer.partitionCount(soon());
      const largest = Buffer.alloc(writer.maxRecordBytes() - 2);
      // Bytes that lz4 cannot make smaller.
      for (let index = 0, state = 1; index < largest.length; index++) {
        state = (state * 48_271) % 2_147_483_647;
        largest[index] = state >> 8;
      }
      const head = Buffer.from('{}');
      await writer.append(0, { head, chunks: [largest] });
      const larger = Buffer.concat([largest, largest]);
      await expect(writer.append(0, { head, chunks: [larger] })).rejects.toMatchObject({
        kind: 'too_large',
        message: expect.stringContaining('max.message.bytes') as string,
      });
      expect(writer.trouble()).toBeNull();
      await writer.append(0, entryOf('small'));
      expect(await valuesIn(settings)).toHaveLength(2);
    });

    test('waits for a topic that does not exist yet, and says so', async () => {
      const settings = settingsOf('later');
      const writer = await newWriter(settings);
      const appended = writer.append(0, entryOf('patient'));
      await until(() => writer.trouble() ?? undefined);
      expect(writer.trouble()).toBe('the topic KAFKA_TOPIC does not exist: `weir channel create` makes it');
      await world.kafka.createTopic('later');
      await appended;
      expect(await valuesIn(settings)).toEqual(['patient']);
    });

    test('is not needed to see whether Kafka can be used', async () => {
      const settings = { ...(await newTopic()), brokers: [world.kafka.proxied] };
      const writer = await newWriter(settings, { refreshMs: 50 });
      expect(writer.isUp()).toBeNull();
      expect(await writer.partitionCount(soon())).toBe(1);
      expect(writer.isUp()).toBe(true);
      await world.kafka.proxy.refuse();
      await until(() => (writer.isUp() === false ? true : undefined));
      await world.kafka.proxy.accept();
      await until(() => (writer.trouble() === null ? true : undefined));
      expect(writer.isUp()).toBe(true);
    });

    test('that is under way when the writer is closed rejects', async () => {
      const writer = await newWriter(settingsOf('never'));
      const appended = writer.append(0, entryOf('lost'));
      const refused = expect(appended).rejects.toMatchObject({ kind: 'closed' });
      await until(() => writer.trouble() ?? undefined);
      await writer.close();
      await refused;
    });
  });

  describe('a listener with TLS and a login', () => {
    const tls = { caFile: AUTHORITY_FILE, certFile: null, keyFile: null };
    const untrusting = { caFile: null, certFile: null, keyFile: null };
    const login = (mechanism: 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512', password: string = LOGIN.password) => ({
      mechanism,
      username: LOGIN.username,
      password,
    });

    test.each(['PLAIN', 'SCRAM-SHA-256'] as const)('is used with %s', async (mechanism) => {
      const settings = { ...(await newTopic()), brokers: [world.kafka.guarded], tls, sasl: login(mechanism) };
      const writer = await newWriter(settings);
      await writer.append(0, entryOf('secret'));
      const reader = await newReader(settings);
      expect(await readAll(await reader.holding(0))).toHaveLength(1);
    });

    test('is used with a token', async () => {
      const sasl = { mechanism: 'OAUTHBEARER', username: null, password: tokenOf(60) } as const;
      const settings = { ...(await newTopic()), brokers: [world.kafka.guarded], tls, sasl };
      await (await newWriter(settings)).append(0, entryOf('secret'));
      expect(await readAll(await (await newReader(settings)).holding(0))).toHaveLength(1);
    });

    test('is a certificate, where brokers want one', async () => {
      const certified = { ...tls, certFile: CLIENT_FILE, keyFile: CLIENT_FILE };
      const settings = { ...(await newTopic()), brokers: [world.kafka.certified], tls: certified };
      await (await newWriter(settings)).append(0, entryOf('secret'));
      expect(await readAll(await (await newReader(settings)).holding(0))).toHaveLength(1);
    });

    test.each<[string, Partial<KafkaSettings>]>([
      ['no certificate', { tls }],
      ['the certificate of a stranger', { tls: { ...tls, certFile: STRANGER_FILE, keyFile: STRANGER_FILE } }],
    ])('says that brokers do not take %s', async (_, wrong) => {
      const writer = await newWriter({ ...settingsOf('any'), brokers: [world.kafka.certified], ...wrong });
      void writer.partitionCount(soon()).catch(() => {});
      await until(() => writer.trouble() ?? undefined);
      expect(writer.trouble()).toMatch(/KAFKA_TLS_CERT_FILE/);
    });

    test.each<[string, Partial<KafkaSettings>, RegExp]>([
      [
        'a token that has expired',
        { tls, sasl: { mechanism: 'OAUTHBEARER', username: null, password: tokenOf(-60) } },
        /KAFKA_PASSWORD/,
      ],
      ['a wrong password', { tls, sasl: login('PLAIN', 'wrong') }, /check KAFKA_USERNAME and KAFKA_PASSWORD/],
      [
        'a wrong password by SCRAM',
        { tls, sasl: login('SCRAM-SHA-256', 'wrong') },
        /KAFKA_USERNAME and KAFKA_PASSWORD/,
      ],
      ['a login that it has not', { tls, sasl: login('SCRAM-SHA-512') }, /check KAFKA_SASL_MECHANISM/],
      ['no login', { tls }, /wants a login \(KAFKA_SASL_MECHANISM\)/],
      ['an unknown authority', { tls: untrusting, sasl: login('PLAIN') }, /name the authority in KAFKA_TLS_CA_FILE/],
      ['a login without TLS', { sasl: login('PLAIN') }, /whether it speaks TLS \(KAFKA_TLS\)/],
      ['neither', {}, /set KAFKA_TLS=true/],
    ])('says what is wrong with %s', async (_, wrong, message) => {
      const writer = await newWriter({ ...settingsOf('any'), brokers: [world.kafka.guarded], ...wrong });
      void writer.partitionCount(soon()).catch(() => {});
      await until(() => writer.trouble() ?? undefined);
      expect(writer.trouble()).toMatch(message);
      expect(writer.trouble()).not.toContain('wrong');
    });

    test('refuses who has no rights: what was to be appended is denied, and what is missing named', async () => {
      const sasl = { mechanism: 'PLAIN', ...GUEST } as const;
      const settings = { ...(await newTopic()), brokers: [world.kafka.guarded], tls, sasl };
      const writer = await newWriter(settings);
      await expect(writer.append(0, entryOf('denied'))).rejects.toMatchObject({
        kind: 'denied',
        message: expect.stringMatching(/IdempotentWrite|Read, Write and Describe/) as string,
      });
      void writer.partitionCount(soon()).catch(() => {});
      await until(() => writer.trouble() ?? undefined);
      expect(writer.trouble()).toContain('it needs Read, Write and Describe (TOPIC_AUTHORIZATION_FAILED)');
      const { reader } = await newReader(settings);
      await until(() => reader.trouble() ?? undefined);
      expect(reader.trouble()).toContain('named as KAFKA_TOPIC is: it needs Read (GROUP_AUTHORIZATION_FAILED)');
      expect(reader.isMember()).toBe(false);
      await expect(describeTopic(settings)).rejects.toThrow('it needs Read, Write and Describe');
    });

    test('names a file that cannot be read', async () => {
      const settings = { ...settingsOf('any'), tls: { ...tls, caFile: '/nowhere/ca.pem' } };
      await expect(newWriter(settings)).rejects.toThrow('KAFKA_TLS_CA_FILE: the file cannot be read (ENOENT)');
    });
  });

  describe('the topic itself', () => {
    test('is made as Weir needs it, once, and described', async () => {
      const settings = settingsOf('made');
      expect(await describeTopic(settings)).toBeNull();
      const wanted = { partitions: 3, replicationFactor: 1, retentionMs: 3 * 86_400_000 };
      expect(await createTopic(settings, wanted)).toBe('created');
      expect(await createTopic(settings, { ...wanted, partitions: 9 })).toBe('exists');
      const topic = await describeTopic(settings);
      expect(topic).toMatchObject({
        replicationFactor: 1,
        partitions: [{ leader: 1 }, { leader: 1 }, { leader: 1 }],
        settings: {
          minInSyncReplicas: 1,
          retentionMs: 3 * 86_400_000,
          retentionBytes: null,
          isUncleanElectionAllowed: false,
          cleanupPolicy: 'delete',
          isBrokersTime: true,
        },
      });
      const problems = topicFindings(settings, topic, { largestEventBytes: 1_000 });
      // There is one broker.
      expect(problems.filter(({ outcome }) => outcome !== 'ok').map(({ subject }) => subject)).toEqual([
        'copies of a record',
      ]);
    });

    test('is not made with more copies than brokers', async () => {
      const wanted = { partitions: 1, replicationFactor: 3, retentionMs: null };
      await expect(createTopic(settingsOf('copies'), wanted)).rejects.toThrow(
        'there are fewer brokers than replicas asked for (INVALID_REPLICATION_FACTOR)',
      );
    });

    test('is described with what is to be read, and by whom', async () => {
      const settings = await newTopic({ partitions: 2 });
      expect(await readChannelStatus(settings)).toMatchObject({ members: [], partitions: [{ end: 0, lag: 0 }, {}] });
      const writer = await newWriter(settings);
      for (const text of ['a', 'b', 'c']) await writer.append(1, entryOf(text));
      const reader = await newReader(settings);
      const tenure = await reader.holding(1);
      await reader.holds(2);
      await tenure.commit(1);
      const { members, partitions, groupState } = await readChannelStatus(settings);
      expect(groupState).toBe('Stable');
      expect(members).toMatchObject([{ host: '127.0.0.1', instanceId: null, partitions: [0, 1] }]);
      const member = members[0]!.id;
      expect(partitions).toMatchObject([
        { partition: 0, first: 0, end: 0, committed: null, lag: 0, member },
        { partition: 1, first: 0, end: 3, committed: 1, isWeirs: true, lag: 2, member },
      ]);
    });
  });
});

/** One that nobody has signed, which the broker believes. */
function tokenOf(secondsLeft: number): string {
  const now = Math.floor(Date.now() / 1_000);
  const parts = [{ alg: 'none' }, { sub: LOGIN.username, iat: now - 120, exp: now + secondsLeft }];
  return `${parts.map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')}.`;
}
