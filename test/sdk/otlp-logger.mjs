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

/** However busy the machine is: the five tries again are what ends an export. */
const PATIENCE_MS = 60_000;

/** `line`: the classes of one line of the packages, and a resource. `options`: more of the exporter’s. */
export const otlpOpener = (line, Exporter, options = {}) => {
  const { LoggerProvider, BatchLogRecordProcessor, resource } = line;
  return (url, token) => {
    const outcomes = new Map();
    const exporter = new Exporter({
      url: `${url}/v1/logs`,
      headers: { authorization: `Bearer ${token}` },
      timeoutMillis: PATIENCE_MS,
      ...options,
    });
    const batches = { maxExportBatchSize: 3, scheduledDelayMillis: 200, exportTimeoutMillis: PATIENCE_MS };
    const processor = new BatchLogRecordProcessor({ exporter: watched(exporter, outcomes), ...batches });
    const provider = new LoggerProvider({ resource, processors: [processor] });
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
};
