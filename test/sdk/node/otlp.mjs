/** OpenTelemetry’s exporters of log records, JSON and protobuf, of the current and of the older line. */
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPLogExporter as OTLPProtoLogExporter } from '@opentelemetry/exporter-logs-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import * as sdk from '@opentelemetry/sdk-logs';
import { OTLPLogExporter as OTLPLogExporter0223 } from 'otel-exporter-http-0.223';
import { OTLPLogExporter as OTLPProtoLogExporter0223 } from 'otel-exporter-proto-0.223';
import { resourceFromAttributes as resourceFromAttributes2 } from 'otel-resources-2';
import * as sdk0223 from 'otel-sdk-logs-0.223';
import { otlpOpener } from '../otlp-logger.mjs';

const current = { ...sdk, resource: resourceFromAttributes({ 'service.name': 'shop' }) };
const older = { ...sdk0223, resource: resourceFromAttributes2({ 'service.name': 'shop' }) };

export const otlpClients = [
  { name: 'otel-logs-json', open: otlpOpener(current, OTLPLogExporter) },
  { name: 'otel-logs-gzip', open: otlpOpener(current, OTLPLogExporter, { compression: 'gzip' }) },
  { name: 'otel-logs-proto', open: otlpOpener(current, OTLPProtoLogExporter) },
  { name: 'otel-logs-json-0.223', open: otlpOpener(older, OTLPLogExporter0223) },
  { name: 'otel-logs-proto-0.223', open: otlpOpener(older, OTLPProtoLogExporter0223) },
];
