import { expect, test } from 'vitest'
import { hashOfCode, hintOfCode, newCode } from './code-secret.ts'

const code = 'HG-01AB-CDEF-GHJK-MNPQ-TVXZ'

test('a code is five groups of four letters that look like nothing else', () => {
  const codes = Array.from({ length: 500 }, newCode)
  for (const one of codes) expect(one).toMatch(/^HG(-[0-9A-HJKMNP-TV-Z]{4}){5}$/)
  expect(new Set(codes).size).toBe(500)
  // Each of the 32 letters turns up: 10,000 draws would miss one with a chance below 10⁻¹³⁰.
  expect(new Set(codes.join('').replace(/HG-|-/g, '')).size).toBe(32)
})

const same = [
  'hg-01ab-cdef-ghjk-mnpq-tvxz',
  'HG01ABCDEFGHJKMNPQTVXZ',
  '01AB-CDEF-GHJK-MNPQ-TVXZ',
  ' hg 01ab cdef ghjk mnpq tvxz\n',
  'HG–01AB–CDEF–GHJK–MNPQ–TVXZ',
  'HG-OIab-cdef-ghjk-mnpq-tvxz',
  'HG-olAB-CDEF-GHJK-MNPQ-TVXZ',
]
test.each(same)('%j is the same code', typed => expect(hashOfCode(typed)).toBe(hashOfCode(code)))

test('a code that begins with HG after its HG is read whole', () => {
  expect(hashOfCode('HGAB-CDEF-GHJK-MNPQ-TVXZ')).toBe(hashOfCode('HG-HGAB-CDEF-GHJK-MNPQ-TVXZ'))
})

test.each(['', 'HG', 'HG-', code.slice(0, -1), `${code}0`, code.replace('A', 'U'), code.replace('A', 'É'), 'XX-01AB-CDEF-GHJK-MNPQ-TVXZ'])(
  '%j is none',
  typed => expect(hashOfCode(typed)).toBe(undefined),
)

test('the hint is the last four letters', () => expect(hintOfCode(code)).toBe('HG-…TVXZ'))
