/** The topic between intake and inserts. */
import { InvalidArgumentError, type Command } from 'commander';
import type { KafkaSettings } from '../config/kafka-settings.ts';
import type { ChannelStatus } from '../kafka/topic.ts';
import { CommandFailure, printJson, type Cli } from './cli.ts';
import { counted, grouped } from '../operations/wording.ts';
import { parseRetention, showRetention } from './retention.ts';
import { createTable, textTable } from './table.ts';

type CreateOptions = {
  readonly partitions: number;
  readonly replicationFactor: number;
  /** In seconds; null: for ever. */
  readonly retention: number | null;
  readonly json?: boolean;
};

const WEEK_S = 7 * 86_400;

export function addChannel(program: Command, cli: Cli): void {
  const settings = (): KafkaSettings => {
    const found = cli.config().kafka;
    if (found !== null) return found;
    throw new CommandFailure(
      'There is no topic: events go straight to the store.\nSet CHANNEL=kafka and KAFKA_BROKERS.',
    );
  };
  const channel = program.command('channel').description('the topic of Kafka between intake and inserts');

  channel
    .command('create')
    .description('make the topic KAFKA_TOPIC; an existing one stays as it is')
    .option('--partitions <count>', 'at least as many as processes that insert', positive, 6)
    .option('--replication-factor <count>', 'brokers that have a copy of each record', positive, 3)
    .option('--retention <duration>', 'how long records are kept, stored or not; none for ever', parseRetention, WEEK_S)
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
Records are confirmed by all brokers that are in sync, at least one less than the replication factor.
What is not stored when its retention ends is lost, so choose one longer than any outage of ClickHouse.

Examples:
  weir channel create
  weir channel create --partitions 12 --retention 3d
  weir channel create --partitions 3 --replication-factor 1`,
    )
    .action((options: CreateOptions) => create(cli, settings(), options));

  channel
    .command('status')
    .description('show how far each partition has been read, and by whom')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
"lag" counts records that are not stored yet; a record holds the events of one or more requests.

Examples:
  weir channel status
  weir channel status --json`,
    )
    .action((options: { json?: boolean }) => showStatus(cli, settings(), options));
}

async function create(cli: Cli, settings: KafkaSettings, options: CreateOptions): Promise<void> {
  const { partitions, replicationFactor, retention } = options;
  const { createTopic } = await import('../kafka/topic.ts');
  const retentionMs = retention === null ? null : retention * 1_000;
  const outcome = await explained(createTopic(settings, { partitions, replicationFactor, retentionMs }));
  if (options.json) return printJson(cli.io, { topic: settings.topic, created: outcome === 'created' });
  cli.io.stderr(
    outcome === 'created'
      ? `Made ${settings.topic}: ${counted(partitions, 'partition')}, replication factor ${replicationFactor}, retention ${showRetention(retention)}.\n`
      : `${settings.topic} exists already and stays as it is; \`weir doctor\` checks it.\n`,
  );
}

async function showStatus(cli: Cli, settings: KafkaSettings, options: { json?: boolean }): Promise<void> {
  const { readChannelStatus } = await import('../kafka/topic.ts');
  const status = await explained(readChannelStatus(settings));
  if (options.json) return printJson(cli.io, { topic: settings.topic, group: settings.group, ...status });
  cli.io.stdout(partitionsTable(status));
  const lag = status.partitions.reduce((sum, partition) => sum + partition.lag, 0);
  const members = counted(status.members.length, 'member');
  cli.io.stdout(
    `\n${settings.topic}: ${counted(lag, 'record')} to store; group ${settings.group}: ${members} (${status.groupState})\n`,
  );
  if (status.members.length > 0) cli.io.stdout(`\n${membersTable(status)}`);
}

function partitionsTable({ partitions }: ChannelStatus): string {
  const names = ['partition', 'leader', 'in sync', 'first', 'end', 'committed', 'lag'];
  const rows = partitions.map(({ partition, leader, replicas, inSync, first, end, committed, isWeirs, lag }) => [
    String(partition),
    leader === -1 ? 'none' : String(leader),
    `${inSync.length} of ${replicas.length}`,
    String(first),
    String(end),
    committed === null ? 'nothing' : `${committed}${isWeirs ? '' : ' (by a tool)'}`,
    grouped(lag),
  ]);
  const table = createTable(
    names.map((name) => ({ name, isNumeric: true })),
    rows,
  );
  return [table.header(), ...rows.map((row) => table.line(row))].join('');
}

function membersTable({ members }: ChannelStatus): string {
  const rows = members.map(({ id, instanceId, host, partitions }) => [instanceId ?? id, host, partitions.join(', ')]);
  return textTable(['member', 'host', 'partitions'], rows);
}

/** A failure of Kafka as one of the command. */
async function explained<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const { KafkaFailure } = await import('../kafka/errors.ts');
    if (error instanceof KafkaFailure) throw new CommandFailure(error.message, { cause: error });
    throw error;
  }
}

function positive(text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new InvalidArgumentError('A whole number from 1 on.');
  return Number(text);
}
