import type { Reporter, TestModule, TestRunEndReason } from 'vitest/node'

/** Closes the output with one plain line that any program can read: `812 passed, 0 failed, 3 skipped`. */
export class Summary implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[], _: TestRunEndReason): void {
    const counts = { passed: 0, failed: 0, skipped: 0 }
    for (const module of modules) {
      const states = [...module.children.allTests()].map(test => test.result().state)
      for (const state of states) if (state !== 'pending') counts[state] += 1
      // A file that could not be read, or that a hook kept from its tests, has failed though none of its tests did.
      if (module.state() === 'failed' && !states.includes('failed')) counts.failed += 1
    }
    const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : ''
    process.on('exit', () => process.stdout.write(`\n${counts.passed} passed, ${counts.failed + errors.length} failed${skipped}\n`))
  }
}
