import { expect, test } from 'vitest'
import { AnswerText, keptBytesMax, nothingWritten } from './answer-text.ts'
import { deltaOf } from './openai-events.ts'

function textOf(...events: (readonly [type: string, delta?: string])[]): AnswerText {
  const text = new AnswerText()
  for (const [type, delta] of events) {
    const name = `response.${type}`
    add(text, `event: ${name}\ndata: ${JSON.stringify({ type: name, delta })}\n\n`, name)
  }
  return text
}

function add(text: AnswerText, event: string, type: string): void {
  text.add(deltaOf(Buffer.from(event), type), type)
}

const said = (delta: string) => ['output_text.delta', delta] as const

test('the deltas of one part are one text', () => {
  expect(textOf(said('Water '), said('runs '), said('downhill.')).written()).toEqual({ texts: ['Water runs downhill.'], share: 1 })
})

test('a part that ends, or another kind of text, begins another one', () => {
  const text = textOf(['reasoning_summary_text.delta', 'Hm.'], said('One'), ['output_text.done'], said('Two'), [
    'function_call_arguments.delta',
    '{}',
  ])
  expect(text.written().texts).toEqual(['Hm.', 'One', 'Two', '{}'])
})

test('escapes are read, even one that two deltas share', () => {
  const text = new AnswerText()
  for (const half of ['\\n\\"\\ud83c', '\\udf0a']) {
    add(text, `data: {"type":"response.output_text.delta","delta":"${half}"}\n\n`, 'response.output_text.delta')
  }
  expect(text.written().texts).toEqual(['\n"🌊'])
})

test('a broken escape is taken as it stands', () => {
  const text = new AnswerText()
  add(text, 'data: {"delta":"a\\x"}\n\n', 'response.output_text.delta')
  expect(text.written().texts).toEqual(['a\\x'])
})

test('nothing written is nothing', () => {
  expect(textOf(['output_item.added'], ['output_item.done']).written()).toEqual(nothingWritten)
})

test('a text larger than a page stays whole', () => {
  const long = 'é日x'.repeat(5000)
  expect(textOf(said('a'), said(long), said('b')).written().texts).toEqual([`a${long}b`])
})

test('beyond the bound the share says how much more there was', () => {
  const tenth = 'x'.repeat(keptBytesMax / 10)
  const text = textOf(...Array.from({ length: 25 }, () => said(tenth)))
  const { texts, share } = text.written()
  expect(texts).toEqual(['x'.repeat(keptBytesMax)])
  expect(share).toBeCloseTo(2.5, 4)
})

test('of a delta that is larger than the bound its beginning counts, and the share says the rest', () => {
  const large = 'x'.repeat(keptBytesMax * 4)
  expect(textOf(said(large)).written()).toEqual({ texts: ['x'.repeat(keptBytesMax)], share: 4 })
  const { texts, share } = textOf(said('ab'), said(large), said(large)).written()
  expect(texts).toEqual([`ab${'x'.repeat(keptBytesMax - 2)}`])
  expect(share).toBeCloseTo(8, 4)
})

test.each([1, 2, 3, 4, 5, 6, 7])('a delta that is cut, %i bytes into its escapes, is cut in front of one', into => {
  const text = new AnswerText()
  const start = 'x'.repeat(keptBytesMax - into)
  add(text, `data: {"delta":"${start}\\\\\\n\\u00e9\\u00e9\\u00e9"}\n\n`, 'response.output_text.delta')
  const { texts } = text.written()
  expect(texts).toHaveLength(1)
  expect(texts[0]!.slice(start.length)).toBe(['', '\\', '\\', '\\\n', '\\\n', '\\\n', '\\\n'][into - 1])
})

test('empty deltas without end take no room', () => {
  const events = Array.from({ length: 1000 }, () => [said(''), ['output_text.done'] as const]).flat()
  expect(
    textOf(...events, said('x'))
      .written()
      .texts.filter(text => text !== ''),
  ).toEqual(['x'])
  expect(textOf(...events, said('x')).written().texts.length).toBeLessThan(3)
})
