import { randomBytes } from 'node:crypto'
import { hashOf } from './secrets.ts'

/** What every code begins with, so that people recognise it. */
const prefix = 'HG'

/** Digits and letters without I, L, O and U: nothing that looks like something else, in any type. 5 bits each. */
const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

/** 100 bits of chance, of which the hint tells 20: nobody finds a code by trying, not even with its hash at hand. */
const letters = 20

/** A new code: HG-XXXX-XXXX-XXXX-XXXX-XXXX. It is shown once and never kept. */
export function newCode(): string {
  // 256 is a multiple of 32, so every letter is as likely as any other.
  const drawn = [...randomBytes(letters)].map(byte => alphabet[byte % alphabet.length]).join('')
  return [prefix, ...(drawn.match(/.{4}/g) ?? [])].join('-')
}

/**
 * What the books keep of a code. Undefined for what cannot be one. Small letters, dashes of any kind, blanks and a missing HG make
 * no difference, nor does O in place of 0, or I or L in place of 1: people copy codes by hand.
 */
export function hashOfCode(typed: string): string | undefined {
  const plain = typed
    .toUpperCase()
    .replace(/[\s\p{Pd}]/gu, '')
    .replaceAll('O', '0')
    .replace(/[IL]/g, '1')
  const drawn = plain.length === prefix.length + letters && plain.startsWith(prefix) ? plain.slice(prefix.length) : plain
  const isCode = drawn.length === letters && [...drawn].every(letter => alphabet.includes(letter))
  return isCode ? hashOf(prefix + drawn) : undefined
}

/** The last four letters: enough to tell codes apart. */
export function hintOfCode(code: string): string {
  return `${prefix}-…${code.slice(-4)}`
}
