import { describe } from 'vitest'
import { onPostgres } from '../engines.ts'

/** Whole journeys once more, with the books on a PostgreSQL server. */
onPostgres('with the books on PostgreSQL', async () => {
  process.env['HEADGATE_TEST_DATABASE'] = 'postgres'
  for (const journey of ['money', 'lease', 'answer-books', 'subscriptions', 'bills', 'uncollected', 'lifecycle-background', 'table']) {
    describe(journey, async () => {
      await import(`./${journey}.test.ts`)
    })
  }
})
