import { Counter, Gauge, type Registry } from '@prometheus-io/client';

export type ReadMetrics = ReturnType<typeof createReadMetrics>;

/** Registers metrics whose values other parts keep: they are read when the page is requested. */
export function createReadMetrics(registry: Registry) {
  return { readCounter, readCounters, readGauges };

  /** One counter with a label, and what to read for each value of it. */
  function readCounter(name: string, help: string, label: string, values: Record<string, () => number>) {
    const counter = new Counter({
      name,
      help,
      labelNames: [label],
      registers: [],
      collect() {
        this.reset();
        for (const [value, read] of Object.entries(values)) this.inc({ [label]: value }, read());
      },
    });
    registry.registerMetric(counter);
  }

  function readCounters(counters: Record<string, [help: string, read: () => number]>) {
    for (const [name, [help, read]] of Object.entries(counters)) {
      const counter = new Counter({
        name,
        help,
        registers: [],
        collect() {
          this.reset();
          this.inc(read());
        },
      });
      registry.registerMetric(counter);
    }
  }

  /** Undefined and null mean unknown: the metric is left out of the page rather than shown as zero. */
  function readGauges(
    aggregator: 'sum' | 'min' | 'max',
    gauges: Record<string, readonly [help: string, read: () => number | null | undefined]>,
  ) {
    for (const [name, [help, read]] of Object.entries(gauges)) {
      const gauge = new Gauge({
        name,
        help,
        aggregator,
        registers: [],
        collect() {
          const value = read();
          this.remove();
          if (typeof value === 'number') this.set(value);
        },
      });
      registry.registerMetric(gauge);
    }
  }
}
