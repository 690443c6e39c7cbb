import { defineConfig } from 'vitest/config'
import { Summary } from './test/summary.ts'

/** Two cores: two files at a time. Tests wait for things, so what never happens must end them. */
export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'sim/**/*.test.ts', 'bench/**/*.test.ts', 'test/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // A busy machine may starve a test that starts processes and waits for them. Once more, and it is told; at a desk it is not hidden.
    retry: process.env['CI'] ? 1 : 0,
    reporters: ['default', new Summary()],
  },
})
