import type { Reporter, TestModule, TestRunEndReason } from 'vitest/node'

/** Closes the output with one plain line that any program can read: `812 passed, 0 failed, 3 skipped`. */
export class Summary implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[], _: TestRunEndReason): void {
    const counts = { passed: 0, failed: 0, skipped: 0 }
    for (const module of modules) {
      // A file that could not even be read has no tests, and has failed all the same.
      if (module.state() === 'failed' && module.children.size === 0) counts.failed += 1
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        if (state !== 'pending') counts[state] += 1
      }
    }
    const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : ''
    process.on('exit', () => process.stdout.write(`\n${counts.passed} passed, ${counts.failed + errors.length} failed${skipped}\n`))
  }
}
