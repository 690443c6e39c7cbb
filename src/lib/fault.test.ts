import { expect, test } from 'vitest'
import { Fault } from './fault.ts'

test('a fault takes no stack: its cause keeps one, and so do errors made after it', () => {
  const cause = new Error('the books are away')
  const fault = new Fault('books_away', { cause })
  expect(fault.stack).not.toContain('fault.test.ts')
  expect((fault.cause as Error).stack).toContain('fault.test.ts')
  expect(new Error('another').stack).toContain('fault.test.ts')
})
