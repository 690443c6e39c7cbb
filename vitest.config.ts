import { defineConfig } from 'vitest/config'
import { Summary } from './test/summary.ts'

/** Two cores: two files at a time. Tests wait for things, so what never happens must end them. */
export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'sim/**/*.test.ts', 'test/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: ['default', new Summary()],
  },
})
