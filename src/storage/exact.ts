import type { Value } from './database.ts'

/**
 * A value as an engine may take it. A number would be bound as a float, and one with a fraction is a rounding that somebody did not
 * mean. The value is not told: it may be a secret.
 */
export function exact(value: Value): Exclude<Value, number> {
  if (typeof value !== 'number') return value
  if (!Number.isSafeInteger(value)) throw new Error('a number is not whole, or beyond 2^53')
  return BigInt(value)
}

/** What a statement is recognised by in the message of an error, which must not tell its values. */
export function firstWords(sql: string): string {
  return sql.trim().split(/\s+/, 5).join(' ').slice(0, 60)
}
