/** OpenTelemetry’s exporter of log records in a page. */
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';
import { otlpOpener } from '../otlp-logger.mjs';

const resource = resourceFromAttributes({ 'service.name': 'shop' });

export const clients = {
  'otel-logs-browser': otlpOpener({ LoggerProvider, BatchLogRecordProcessor, resource }, OTLPLogExporter),
};
