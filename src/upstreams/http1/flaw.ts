/** What came is no answer, or only a part of one. */
export class AnswerFlaw extends Error {
  override readonly name = 'AnswerFlaw'
  readonly code = 'HEADGATE_ANSWER_FLAW'
}
