import { hash, randomBytes } from 'node:crypto'

/** What every secret of a key begins with, so that scanners of leaked secrets and people recognise it. */
export const secretPrefix = 'sk-hg-'

const secretBytes = 32

/** A new secret: 256 random bits. It is shown once and never kept. */
export function newSecret(): string {
  return secretPrefix + randomBytes(secretBytes).toString('base64url')
}

/**
 * What the books keep of a secret: SHA-256, in hexadecimal. A slow hash protects passwords, which can be guessed; nobody guesses
 * 256 random bits, and this one stands before every call.
 */
export function hashOf(secret: string): string {
  return hash('sha256', secret, 'hex')
}

/** The first and last four characters after the prefix: enough to tell keys apart, far too little to be one. */
export function hintOf(secret: string): string {
  return `${secret.slice(0, secretPrefix.length + 4)}…${secret.slice(-4)}`
}
