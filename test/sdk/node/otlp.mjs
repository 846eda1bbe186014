/** OpenTelemetry’s exporters of log records, JSON and protobuf. */
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPLogExporter as OTLPProtoLogExporter } from '@opentelemetry/exporter-logs-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';

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

const opener = (Exporter, options) => (url, token) => {
  const outcomes = new Map();
  const exporter = new Exporter({ url: `${url}/v1/logs`, headers: { authorization: `Bearer ${token}` }, ...options });
  const provider = new LoggerProvider({
    resource: resourceFromAttributes({ 'service.name': 'shop' }),
    processors: [
      new BatchLogRecordProcessor({
        exporter: watched(exporter, outcomes),
        maxExportBatchSize: 3,
        scheduledDelayMillis: 200,
      }),
    ],
  });
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

export const otlpClients = [
  { name: 'otel-logs-json', open: opener(OTLPLogExporter, {}) },
  { name: 'otel-logs-gzip', open: opener(OTLPLogExporter, { compression: 'gzip' }) },
  { name: 'otel-logs-proto', open: opener(OTLPProtoLogExporter, {}) },
];
