/** Asks brokers one thing at a time, in the newest form that both sides know. Nothing is repeated here. */
import type {
  Base,
  Broker,
  Connection,
  createTopicsV7,
  describeConfigsV4,
  describeGroupsV5,
  fetchV17,
  findCoordinatorV6,
  heartbeatV4,
  initProducerIdV5,
  joinGroupV9,
  leaveGroupV5,
  listOffsetsV9,
  offsetCommitV9,
  offsetFetchV9,
  produceV11,
  syncGroupV5,
} from '@platformatic/kafka';
import type { KafkaSettings } from '../config/kafka-settings.ts';
import { createClient, loadDriver, type ClientTimes, type Driver } from './client.ts';
import { answerIn, KafkaFailure, NotAsked } from './errors.ts';

/** What is asked and answered; older versions take the same arguments and leave out of the answer what they lack. */
export type Api = {
  Produce: [produceV11.ProduceRequest, produceV11.ProduceResponse];
  Fetch: [fetchV17.FetchRequest, fetchV17.FetchResponse];
  InitProducerId: [initProducerIdV5.InitProducerIdRequest, initProducerIdV5.InitProducerIdResponse];
  ListOffsets: [listOffsetsV9.ListOffsetsRequest, listOffsetsV9.ListOffsetsResponse];
  FindCoordinator: [findCoordinatorV6.FindCoordinatorRequest, findCoordinatorV6.FindCoordinatorResponse];
  JoinGroup: [joinGroupV9.JoinGroupRequest, joinGroupV9.JoinGroupResponse];
  SyncGroup: [syncGroupV5.SyncGroupRequest, syncGroupV5.SyncGroupResponse];
  Heartbeat: [heartbeatV4.HeartbeatRequest, heartbeatV4.HeartbeatResponse];
  LeaveGroup: [leaveGroupV5.LeaveGroupRequest, leaveGroupV5.LeaveGroupResponse];
  OffsetCommit: [offsetCommitV9.OffsetCommitRequest, offsetCommitV9.OffsetCommitResponse];
  OffsetFetch: [offsetFetchV9.OffsetFetchRequest, offsetFetchV9.OffsetFetchResponse];
  DescribeGroups: [describeGroupsV5.DescribeGroupsRequest, describeGroupsV5.DescribeGroupsResponse];
  DescribeConfigs: [describeConfigsV4.DescribeConfigsRequest, describeConfigsV4.DescribeConfigsResponse];
  CreateTopics: [createTopicsV7.CreateTopicsRequest, createTopicsV7.CreateTopicsResponse];
};

export type PartitionLayout = {
  /** The node that leads it; -1 while none does. */
  readonly leader: number;
  readonly replicas: readonly number[];
  readonly inSync: readonly number[];
};

export type TopicLayout = {
  /** The topic's own id, or its name where brokers are too old to have ids. */
  readonly id: string;
  readonly partitions: readonly PartitionLayout[];
};

/** Any broker, a node of the cluster by its number, or the broker that coordinates the group. */
export type Target = 'any' | 'controller' | { readonly node: number } | { readonly group: string };

export type Requests = {
  readonly driver: Driver;
  /** Throws where the topic does not exist. `isFresh`: ask now, instead of believing what was told in the last minute. */
  layout(topic: string, options?: { isFresh?: boolean }): Promise<TopicLayout>;
  /** Throws `NotAsked` or the driver's error; where the broker refuses a part of what it was asked, that is in the answer instead. */
  ask<Name extends keyof Api>(target: Target, name: Name, request: RequestOf<Name>): Promise<Api[Name][1]>;
  /** Forgets which broker coordinates the group. */
  forgetCoordinator(): void;
  /** Breaks all connections, so that nothing waits any longer behind what is not answered. */
  reset(): void;
  close(): Promise<void>;
};

/** `version`: of the protocol's request, where its form depends on it. */
type RequestOf<Name extends keyof Api> = Api[Name][0] | ((version: number) => Api[Name][0]);

const COORDINATOR_OF_GROUP = 0;

/** Loads the driver; connects when first asked. `name`: what it is for, as brokers log it. */
export async function openRequests(settings: KafkaSettings, name: string, times: ClientTimes): Promise<Requests> {
  const driver = await loadDriver();
  const client = createClient(driver, settings, name, times);
  let coordinator: Broker | null = null;
  let attempts = 0;

  return {
    driver,
    layout,
    ask,
    forgetCoordinator: () => void (coordinator = null),
    reset() {
      coordinator = null;
      for (const [, connection] of client.connections) connection.socket?.destroy();
    },
    close: () => client.close(),
  };

  async function layout(topic: string, { isFresh = false } = {}): Promise<TopicLayout> {
    const { topics } = await client.metadata({ topics: [topic], forceUpdate: isFresh });
    const found = topics.get(topic);
    if (found === undefined) throw new KafkaFailure(`Kafka said nothing of the topic ${topic}`);
    // A number that brokers left out would be a hole.
    const partitions = Array.from(found.partitions, (partition) => ({
      leader: partition?.leader ?? -1,
      replicas: partition?.replicas ?? [],
      inSync: partition?.isr ?? [],
    }));
    return { id: found.id, partitions };
  }

  async function ask<Name extends keyof Api>(target: Target, name: Name, request: RequestOf<Name>) {
    const { api, connection } = await prepare<Name>(target, name);
    try {
      return await api.async(connection, ...(typeof request === 'function' ? request(api.version) : request));
    } catch (error) {
      const answer = answerIn(error) as Api[Name][1] | null;
      if (answer === null || hasOwnError(answer)) throw error;
      return answer;
    }
  }

  async function prepare<Name extends keyof Api>(target: Target, name: Name) {
    try {
      return { api: await apiOf<Name>(driver, client, name), connection: await connectionTo(target) };
    } catch (error) {
      throw new NotAsked('no connection to kafka', { cause: error });
    }
  }

  async function connectionTo(target: Target): Promise<Connection> {
    if (target === 'any') return anyConnection();
    if (target === 'controller') {
      const { brokers, controllerId } = await client.metadata({ topics: [], forceUpdate: true });
      const controller = brokers.get(controllerId);
      return controller === undefined ? anyConnection() : connectionWith(controller);
    }
    if ('group' in target) return connectionWith((coordinator ??= await findCoordinator(target.group)));
    const { brokers } = await client.metadata({ topics: [] });
    const broker = brokers.get(target.node);
    if (broker === undefined) throw new KafkaFailure(`the broker ${target.node} is away`);
    return connectionWith(broker);
  }

  function connectionWith(broker: Broker): Promise<Connection> {
    return promised((callback) => client[driver.kGetConnection](broker, callback));
  }

  /** Another one each time, since a frozen one accepts connections. */
  function anyConnection(): Promise<Connection> {
    const attempt = attempts++;
    return promised((callback) => client[driver.kGetBootstrapConnection](callback, attempt));
  }

  async function findCoordinator(group: string): Promise<Broker> {
    const answer = await ask('any', 'FindCoordinator', [COORDINATOR_OF_GROUP, [group]]);
    const { host, port } = answer.coordinators[0]!;
    return { host, port };
  }
}

/** Where the whole request was refused, there is nothing else in the answer. */
const hasOwnError = (answer: unknown): boolean => {
  const { errorCode, coordinators } = answer as { errorCode?: number; coordinators?: unknown };
  return coordinators !== undefined || (errorCode !== undefined && errorCode !== 0);
};

type DriverApi<Name extends keyof Api> = {
  readonly version: number;
  readonly async: (connection: Connection, ...request: Api[Name][0]) => Promise<Api[Name][1]>;
};

function apiOf<Name extends keyof Api>(driver: Driver, client: Base, name: Name): Promise<DriverApi<Name>> {
  return promised((callback) => client[driver.kGetApi]<Api[Name][0], Api[Name][1]>(name, callback));
}

function promised<T>(start: (callback: (error: Error | null, value?: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, value) => (error ? reject(error) : resolve(value!)));
  });
}
