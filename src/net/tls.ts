/** Classifies Node's error codes for TLS. Knows no store. */
export type TlsTrouble =
  /** Signed by no authority that this machine trusts, or not issued for this use. */
  | 'untrusted'
  /** Expired, or not valid yet. */
  | 'out of date'
  /** Issued for another name than the requested one. */
  | 'other name'
  /** The connection failed before a certificate was sent: most likely the other side does not speak TLS there. */
  | 'no handshake';

const UNTRUSTED = new Set([
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'CERT_UNTRUSTED',
  'CERT_REJECTED',
  'CERT_REVOKED',
  'CERT_CHAIN_TOO_LONG',
  'CERT_SIGNATURE_FAILURE',
  'PATH_LENGTH_EXCEEDED',
  'INVALID_CA',
  'INVALID_PURPOSE',
]);

/** null for a code that has nothing to do with TLS. */
export function tlsTroubleOf(code: string | null): TlsTrouble | null {
  if (code === null) return null;
  if (UNTRUSTED.has(code)) return 'untrusted';
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID') return 'out of date';
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID' || code === 'HOSTNAME_MISMATCH') return 'other name';
  return code === 'EPROTO' || code.startsWith('ERR_SSL_') || code.startsWith('ERR_TLS_') ? 'no handshake' : null;
}
