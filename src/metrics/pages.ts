/** Metrics pages as plain values, and one page merged from those of several workers. */
import { AggregatorRegistry, type MetricObjectWithValues, type MetricValueWithName } from '@prometheus-io/client';

/** Events taken from a topic and not settled: also counted as pending. Only where there is a topic. */
export const TOPIC_PENDING = 'weir_topic_pending_events';

/** Every metric with its values. Workers send theirs to each other. */
export type MetricsPage = readonly Omit<MetricObjectWithValues<MetricValueWithName<string>>, 'collect'>[];

export const EVENTS_TOTAL = 'weir_events_total';
/** The types whose values only grow. */
const COUNTING: ReadonlySet<string> = new Set(['counter', 'histogram']);
/** Metrics of a process that has ended whose last value must not be added, such as its memory. */
const OF_A_PROCESS = /^(process|nodejs)_/;

/** The page in Prometheus's text format. */
export const textOf = (page: MetricsPage): Promise<string> => aggregate([page]).metrics();

/**
 * Merges the pages of several workers. Workers that do not answer at the moment contribute only sums: their other facts
 * may be out of date.
 */
export function mergePages(current: readonly MetricsPage[], absent: readonly MetricsPage[]): Promise<string> {
  const counts = ({ name, type, aggregator }: MetricsPage[number]) =>
    (aggregator ?? 'sum') === 'sum' && (COUNTING.has(type) || !OF_A_PROCESS.test(name));
  const summed = absent.map((page) => page.filter(counts));
  return aggregate([...current, ...summed]).metrics();
}

/**
 * Adds the counts of a process that has ended to those of earlier ones: counters must not fall because a worker died.
 * Its successor found the events that it had pending (`recovered`) and counts them again; the rest left its journal,
 * and so has landed, in the store or in the topic. What it had taken from a topic, another one takes again.
 */
export function addEnded(before: MetricsPage, last: MetricsPage, recovered: number): Promise<MetricsPage> {
  const leftInTopic = valueOf(last, TOPIC_PENDING);
  const pending = (valueOf(last, 'weir_pending_events') ?? 0) - (leftInTopic ?? 0);
  const countedAgain = Math.min(pending, recovered);
  const landedAs = leftInTopic === undefined ? 'stored' : 'replicated';
  const counted = last
    .filter(({ type }) => COUNTING.has(type))
    .map((metric) =>
      metric.name === EVENTS_TOTAL
        ? {
            ...metric,
            values: metric.values.map((counted) => {
              const { result } = counted.labels;
              if (result === 'accepted') return { ...counted, value: counted.value - countedAgain };
              if (result === 'handed_over') return { ...counted, value: counted.value + (leftInTopic ?? 0) };
              return result === landedAs ? { ...counted, value: counted.value + pending - countedAgain } : counted;
            }),
          }
        : metric,
    );
  return aggregate([before, counted]).getMetricsAsJSON();
}

/** How many events a process took up at its start. */
export const recoveredIn = (page: MetricsPage): number => valueOf(page, EVENTS_TOTAL, 'recovered') ?? 0;

/** How many events processes have accepted. */
export const acceptedIn = (page: MetricsPage): number => valueOf(page, EVENTS_TOTAL, 'accepted') ?? 0;

function valueOf(page: MetricsPage, name: string, result?: string): number | undefined {
  const values = page.find((metric) => metric.name === name)?.values;
  return values?.find(({ labels }) => labels['result'] === result)?.value;
}

const aggregate = (pages: readonly MetricsPage[]) => AggregatorRegistry.aggregate(pages.map((page) => [...page]));
