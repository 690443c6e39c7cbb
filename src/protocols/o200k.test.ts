import { countTokens } from 'gpt-tokenizer/encoding/o200k_base'
import { expect, test } from 'vitest'
import { countTexts } from './o200k.ts'

const inTime = { elapsedMs: () => 0, withinMs: 1 }

/** A linear congruential generator (Numerical Recipes). */
function drawn(alphabet: string, length: number): string {
  let state = 1
  const chars = [...alphabet]
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return chars[Math.floor((state / 2 ** 32) * chars.length)]
  }
  return Array.from({ length }, next).join('')
}

const prose = 'Headgate is a self-hosted gateway; it shares a pool of accounts.\n\n  Each gets the measure it is owed, 1,234 times.  '
const code = '  if (bytes[open] !== brace) return undefined\n\n\n\tconst members: Member[] = []\n'
const chinese = '每个人都有自己的密钥，网关证明谁在请求，确保他们能够付款。'

test.each([
  ['nothing', ''],
  ['a word', 'hello'],
  ['prose', prose.repeat(500)],
  ['code', code.repeat(500)],
  ['Chinese', chinese.repeat(300)],
  ['emoji', '🌊💧🚰'.repeat(40)],
  ['digits', drawn('0123456789', 3000)],
])('%s counts as the vocabulary has it, however long', (_, text) => {
  const expected = countTokens(text)
  expect(Math.abs(countTexts([text], inTime) - expected)).toBeLessThanOrEqual(expected * 0.001)
})

test('texts are counted each alone', () => {
  expect(countTexts(['hel', 'lo'], inTime)).toBe(countTokens('hel') + countTokens('lo'))
})

test('what looks like a special token is text', () => {
  expect(countTexts(['a <|endoftext|> b'], inTime)).toBeGreaterThan(4)
})

test.each([
  ['a million letters', 'a'.repeat(1_000_000)],
  ['a million marks', '!?'.repeat(500_000)],
  ['a million blanks', ' '.repeat(1_000_000)],
  ['random letters', drawn('abcdefghijklmnopqrstuvwxyz', 100_000)],
])('%s are counted in parts, as a few thousand of them are', (_, text) => {
  const sample = text.slice(0, 8_000) // So few that the vocabulary itself can merge them in one run.
  const [whole, part] = [countTexts([text], inTime) / text.length, countTokens(sample) / sample.length]
  expect(Math.abs(whole - part)).toBeLessThan(0.02)
})

test('what is not counted in time is taken to be like the rest', () => {
  let nowMs = 0
  const text = prose.repeat(2000)
  const sampled = countTexts([text], { elapsedMs: () => nowMs++, withinMs: 10 })
  expect(nowMs).toBeLessThan(20)
  expect(Math.abs(sampled / countTokens(text) - 1)).toBeLessThan(0.02)
})

test('no character is cut in two', () => {
  // One letter, and then every cut would fall between halves.
  const text = `a${'𠀀'.repeat(5000)}`
  expect(countTexts([text], inTime)).toBe(1 + 5000 * countTokens('𠀀'))
})
