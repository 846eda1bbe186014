/** The answers that clients of OTLP read in protobuf. */
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/** An `ExportLogsServiceResponse`; empty where nothing was rejected. */
export function exportResponse(rejected: number, message: string): Buffer {
  if (rejected === 0) return Buffer.alloc(0);
  const partial = new BinaryWriter();
  partial.tag(1, WireType.Varint).int64(rejected);
  partial.tag(2, WireType.LengthDelimited).string(message);
  return Buffer.from(new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(partial.finish()).finish());
}

/** A `google.rpc.Status`. */
export function rpcStatus(code: number, message: string): Buffer {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.Varint).int32(code);
  writer.tag(2, WireType.LengthDelimited).string(message);
  return Buffer.from(writer.finish());
}
