import { Route, Switch } from 'wouter'
import { Inbox } from './Inbox'
import { TranscriptPage } from './TranscriptPage'

export default function Transcription() {
  return (
    <Switch>
      <Route path="/transcription/:id">{({ id }) => <TranscriptPage key={id} id={id} />}</Route>
      <Route>
        <Inbox />
      </Route>
    </Switch>
  )
}
