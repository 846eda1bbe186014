/** A logger that says of each record whether it was exported. */

/** The exporter’s result decides: the processor in front of it tells the app nothing. */
function watched(exporter, outcomes) {
  return {
    export: (records, done) =>
      exporter.export(records, (result) => {
        for (const { attributes } of records) outcomes.get(attributes.mark)(result.code === 0);
        done(result);
      }),
    forceFlush: () => exporter.forceFlush(),
    shutdown: () => exporter.shutdown(),
  };
}

/** Of one line of the packages: their classes, and a resource. Opens with an address, a token, and what else `options` of the exporter are. */
export const otlpOpener =
  ({ LoggerProvider, BatchLogRecordProcessor, resource }, Exporter, options = {}) =>
  (url, token) => {
    const outcomes = new Map();
    const exporter = new Exporter({ url: `${url}/v1/logs`, headers: { authorization: `Bearer ${token}` }, ...options });
    const batches = { exporter: watched(exporter, outcomes), maxExportBatchSize: 3, scheduledDelayMillis: 200 };
    const provider = new LoggerProvider({ resource, processors: [new BatchLogRecordProcessor(batches)] });
    const logger = provider.getLogger('orders');
    return {
      send: (mark) => {
        const outcome = new Promise((resolve) => outcomes.set(mark, resolve));
        logger.emit({ eventName: 'ordered', severityNumber: 9, body: 'ordered', attributes: { mark } });
        return outcome;
      },
      close: () => provider.shutdown(),
    };
  };
