import { describe, expect, test } from 'vitest';
import { failureFromTransport } from '../src/clickhouse/connection/errors.ts';
import { tlsTroubleOf } from '../src/net/tls.ts';

const CERTIFICATES = [
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'ERR_TLS_CERT_ALTNAME_INVALID',
];

describe('an error code', () => {
  test.each(CERTIFICATES)('%s is about the certificate', (code) => {
    expect(['untrusted', 'out of date', 'other name']).toContain(tlsTroubleOf(code));
  });

  test.each(['EPROTO', 'ERR_SSL_WRONG_VERSION_NUMBER', 'ERR_TLS_HANDSHAKE_TIMEOUT'])('%s comes before one', (code) => {
    expect(tlsTroubleOf(code)).toBe('no handshake');
  });

  test.each([null, '', 'ECONNREFUSED', 'ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE', '516', '28P01'])(
    '%s is about something else',
    (code) => expect(tlsTroubleOf(code)).toBeNull(),
  );
});

describe('an insert over a connection that was never made', () => {
  const failureOf = (code: string) => failureFromTransport(Object.assign(new Error('tls'), { code }));

  test.each(CERTIFICATES)('because of %s has not landed', (code) => {
    expect(failureOf(code)).toMatchObject({ failureClass: 'unavailable', mayHaveLanded: false });
  });

  test('or broke in the middle of TLS may have', () => {
    expect(failureOf('EPROTO')).toMatchObject({ failureClass: 'ambiguous' });
  });
});
