import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { soak } from './soaking.ts'

/** What `npm run bench:soak` does for 20 minutes, for some seconds: so that it can be run when it is wanted. */
test('after all kinds of calls at once nothing is left', { timeout: 180_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'headgate-soak-'))
  try {
    const lines: string[] = []
    const { left, calls } = await soak({ folder, ms: 8_000, everyMs: 2_000, tell: line => lines.push(line) })
    expect(left).toEqual({ calls: 0, drains: 0, slots: 0, holds: 0, differences: 0, hung: 0 })
    expect(calls).toBeGreaterThan(0)
    expect(lines.length).toBeGreaterThan(1)
    expect(lines.at(-1)).toMatch(/completed \d+/)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
