import { expect, test } from 'vitest'
import { tokensBeyondHalf } from './text-tokens.ts'

/** A linear congruential generator (Numerical Recipes), so that the texts are the ones that were counted. */
function chance(): () => number {
  let state = 1
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

function drawn(alphabet: string | readonly number[], length: number): string {
  const next = chance()
  const chars =
    typeof alphabet === 'string' ? [...alphabet] : Array.from({ length: alphabet[1]! }, (_, i) => String.fromCodePoint(alphabet[0]! + i))
  return Array.from({ length }, () => chars[Math.floor(next() * chars.length)]).join('')
}

function listed(length: number, one: (next: () => number) => string, between: string): string {
  const next = chance()
  return Array.from({ length }, () => one(next)).join(between)
}

const letters = 'abcdefghijklmnopqrstuvwxyz'
const hexOf = (next: () => number) =>
  Math.floor(next() * 256)
    .toString(16)
    .padStart(2, '0')

const texts = {
  hexadecimal: drawn('0123456789abcdef', 4000),
  HEXADECIMAL: drawn('0123456789ABCDEF', 4000),
  base64: drawn(`${letters}${letters.toUpperCase()}0123456789+/`, 4000),
  'printable characters': drawn([32, 95], 4000),
  marks: drawn('!@#$%^&*()_+-=[]{}|;:,.<>/?', 4000),
  'a letter and a digit in turn': 'a1'.repeat(2000),
  letters: drawn(letters, 4000),
  consonants: drawn('bcdfghjklmnpqrstvwxz', 4000),
  capitals: drawn(letters.toUpperCase(), 4000),
  digits: drawn('0123456789', 4000),
  'numbers of two digits': listed(1000, next => String(Math.floor(next() * 100)), ','),
  'digits apart': listed(1000, next => String(Math.floor(next() * 10)), ' '),
  fractions: listed(500, next => next().toFixed(4), ', '),
  'a dump of bytes': listed(100, next => `${hexOf(next)}${hexOf(next)}  ${listed(8, () => hexOf(next), ' ')}`, '\n'),
  'lines of one letter': 'x \n'.repeat(1000),
  'Cyrillic letters': drawn('абвгдежзийклмнопрстуфхцчшщъыьэюя', 2000),
  'Arabic letters': drawn('ابتثجحخدذرزسشصضطظعغفقكلمنهوي', 2000),
  emoji: drawn([0x1f300, 500], 1000),
  Yi: drawn([0xa000, 1000], 1000),
  Ethiopic: drawn([0x1200, 70], 1000),
  'old Han': drawn([0x20000, 3000], 1000),
  prose: 'Headgate is a self-hosted gateway that shares a pool of upstream accounts among many people. '.repeat(20),
  'Chinese prose': '每个人都有自己的密钥，网关证明谁在请求，确保他们能够付款，让他们排队，选择一个账户，转发请求，并准确记录费用。'.repeat(
    20,
  ),
  'German prose': 'Jede Person hat eigene Schlüssel; die Schleuse prüft, wer fragt, und bucht genau, was es gekostet hat. '.repeat(20),
  code: '  if (bytes[open] !== brace) return undefined\n  const members: Member[] = []\n'.repeat(20),
} as const

/** Counted with npm gpt-tokenizer 4.0.0, `o200k_base`. */
const counted: Record<keyof typeof texts, number> = {
  hexadecimal: 2252,
  HEXADECIMAL: 2277,
  base64: 2715,
  'printable characters': 2963,
  marks: 2608,
  'a letter and a digit in turn': 4000,
  letters: 2063,
  consonants: 2285,
  capitals: 2293,
  digits: 1334,
  'numbers of two digits': 1999,
  'digits apart': 1999,
  fractions: 2998,
  'a dump of bytes': 2125,
  'lines of one letter': 2000,
  'Cyrillic letters': 1458,
  'Arabic letters': 1357,
  emoji: 1979,
  Yi: 2990,
  Ethiopic: 2000,
  'old Han': 3953,
  prose: 381,
  'Chinese prose': 700,
  'German prose': 542,
  code: 420,
}

test.each(Object.entries(texts) as [keyof typeof texts, string][])('%s are not estimated below what they take', (name, text) => {
  const bytes = Buffer.byteLength(JSON.stringify(text)) - 2
  // With the quotes and the comma that are around it in a body.
  expect((bytes + 3) / 2 + tokensBeyondHalf(text)).toBeGreaterThanOrEqual(counted[name])
})

test('prose and code are held for at one token for two bytes, and hardly more', () => {
  for (const name of ['prose', 'Chinese prose', 'German prose', 'code'] as const) {
    const bytes = Buffer.byteLength(JSON.stringify(texts[name])) - 2
    expect(tokensBeyondHalf(texts[name])).toBeLessThan(bytes * 0.05)
  }
})

test('a long text is read in pieces, to the same sum', () => {
  const whole = tokensBeyondHalf(texts.base64.repeat(50))
  expect(whole / (50 * tokensBeyondHalf(texts.base64))).toBeCloseTo(1, 2)
})
