/** `weir channel`, and what doctor says of the topic, on a real broker. */
import { Readable } from 'node:stream';
import { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { addChannel } from '../../src/cli/channel.ts';
import type { Cli } from '../../src/cli/cli.ts';
import { examineTopic } from '../../src/operations/examination/topic-checks.ts';
import { parseConfig } from '../../src/config/config.ts';
import type { KafkaSettings } from '../../src/config/kafka-settings.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { entryOf, inKafkaWorld, isWithoutKafka } from '../support/kafka-topics.ts';

describe.skipIf(isWithoutKafka)('the topic, for operators', () => {
  const world = inKafkaWorld();
  const { settingsOf, newWriter, newReader } = world;

  async function run(args: string, settings: KafkaSettings | null) {
    let stdout = '';
    let stderr = '';
    const cli: Cli = {
      io: {
        stdout: (text) => void (stdout += text),
        stderr: (text) => void (stderr += text),
        send: () => Promise.resolve(),
        isTTY: false,
      },
      input: {
        ask: () => Promise.resolve(''),
        askSecret: () => Promise.resolve(''),
        readAll: () => Promise.resolve(''),
        bytes: () => Readable.from([]),
      },
      clock: systemClock,
      config: () =>
        parseConfig(
          settings === null
            ? {}
            : { CHANNEL: 'kafka', KAFKA_BROKERS: settings.brokers.join(','), KAFKA_TOPIC: settings.topic },
          () => '',
        ),
      exitWith: () => {},
      user: 'tester',
      releaseSignals: () => {},
    };
    const program = new Command().exitOverride().configureOutput({ writeErr: () => {} });
    addChannel(program, cli);
    await program.parseAsync(args.split(' '), { from: 'user' });
    return { stdout, stderr };
  }

  test('is made once, and shown', async () => {
    // The group of a topic bears its name.
    const settings = { ...settingsOf('weir.events'), group: 'weir.events' };
    expect(await examineTopic(settings)).toMatchObject([
      { name: 'Kafka topic', outcome: 'fail', remedy: 'Make it: weir channel create' },
    ]);
    await expect(run('channel status', settings)).rejects.toThrow('`weir channel create` makes it');
    const made = await run('channel create --partitions 2 --replication-factor 1 --retention 3d', settings);
    expect(made.stderr).toBe('Made weir.events: 2 partitions, replication factor 1, retention 3d.\n');
    const again = await run('channel create --json --replication-factor 1', settings);
    expect(JSON.parse(again.stdout)).toEqual({ topic: 'weir.events', created: false });
    const checks = await examineTopic(settings);
    expect(checks.filter(({ outcome }) => outcome !== 'ok').map(({ name }) => name)).toEqual([
      'Kafka copies of a record',
    ]);

    const writer = await newWriter(settings);
    await writer.append(1, entryOf('one'));
    await writer.append(1, entryOf('two'));
    const reader = await newReader({ ...settings, instanceId: 'flush-1' });
    await (await reader.holding(1)).commit(1);
    const { stdout } = await run('channel status', settings);
    expect(stdout).toMatch(/^ +1 +1 +1 of 1 +0 +2 +1 +1$/m);
    expect(stdout).toContain('weir.events: 1 record to store; group weir.events: 1 member (Stable)');
    expect(stdout).toMatch(/^flush-1 +127\.0\.0\.1 +0, 1$/m);
    expect(JSON.parse((await run('channel status --json', settings)).stdout)).toMatchObject({
      topic: 'weir.events',
      groupState: 'Stable',
      partitions: [{ lag: 0 }, { lag: 1, committed: 1, isWeirs: true }],
    });
  });

  test('is not asked about where there is none, and a broker that is away is named', async () => {
    await expect(run('channel status', null)).rejects.toThrow('Set CHANNEL=kafka and KAFKA_BROKERS.');
    await expect(run('channel create --partitions 0', settingsOf('any'))).rejects.toThrow('A whole number from 1 on');
    const away = { ...settingsOf('any'), brokers: ['127.0.0.1:1'] };
    await expect(run('channel status', away)).rejects.toThrow(
      'no broker of KAFKA_BROKERS can be reached (ECONNREFUSED)',
    );
    expect(await examineTopic(away)).toMatchObject([{ name: 'Kafka', outcome: 'fail' }]);
  });
});
