import { expect, test } from 'vitest'
import type { Terminal } from './io.ts'
import { printReceipt } from './receipt.ts'

test.each([
  ['default', 'default', 'default'],
  ['priority', 'fast', 'priority'],
  ['ultrafast', 'default', 'ultrafast, priced as default: the price book had no price for that tier'],
  ['flex', null, 'flex'],
])('served as %s and priced as %s, the receipt says: %s', (tier, priceTier, words) => {
  let out = ''
  const terminal: Terminal = {
    ...{ env: {}, cwd: '.', colour: false, nowMs: () => 0, err: () => {}, stdin: async () => '' },
    out: text => void (out += text),
  }
  printReceipt(terminal, { id: 'c', tier, priceTier, attempts: [] })
  expect(/^ {2}tier +(.*)$/m.exec(out)?.[1]).toBe(words)
})
