# Dates, put together by `texts::date`: $day, $month (1 to 12), $weekday (1 is Monday), $year, $time.
date = { weekday }, { $day } { month } { $year }, { $time }
weekday = { $weekday ->
    [1] Monday
    [2] Tuesday
    [3] Wednesday
    [4] Thursday
    [5] Friday
    [6] Saturday
   *[7] Sunday
 }
month = { $month ->
    [1] January
    [2] February
    [3] March
    [4] April
    [5] May
    [6] June
    [7] July
    [8] August
    [9] September
    [10] October
    [11] November
   *[12] December
 }
tickets = { $count ->
    [one] { $count } ticket
   *[other] { $count } tickets
 }
# Notices: `notices/text.rs`. $event, $place and $when are the performance's.
seat = { $section }, row { $row }, seat { $seat }
standing = { $section }, standing
notice-link-order = Open the order
notice-link-pay = Pay
notice-link-event = Choose seats
notice-link-subscription = Open the subscription
notice-ticket =
    <b>{ $event }</b>
    { $when }
    { $seat }
    Show this code at the entrance.
notice-order-paid =
    { $count ->
        [one] Your ticket is here
       *[other] Your { $count } tickets are here
    }: <b>{ $event }</b>
    { $when }
    { $place }
    { $seats }
    Paid: { $total }
notice-order-lost =
    Your order for <b>{ $event }</b>, { $when }, did not come about: its seats could not be had any more. Nothing is kept; if money was taken, it comes back by itself.
notice-order-refunded =
    { $amount } for <b>{ $event }</b>, { $when }, is on its way back to the card that paid.
notice-order-refunded-free =
    Your tickets for <b>{ $event }</b>, { $when }, were taken back.
notice-refund-failed =
    { $amount } for <b>{ $event }</b> could not be sent back by the bank. We are on it; you do not have to do anything.
notice-event-moved =
    <b>{ $event }</b> has been moved. It now begins on { $when }.
    { $place }
    Your tickets are valid for the new date. If it does not suit you, you can have the whole price back until it begins.
notice-event-replaced =
    <b>{ $event }</b>, { $when }, has been changed: { $performer } will perform.
    Your tickets stay valid. If it does not suit you, you can have the whole price back until it begins.
notice-event-moved-replaced =
    <b>{ $event }</b> has been changed: { $performer } will perform, and it now begins on { $when }.
    { $place }
    Your tickets stay valid. If it does not suit you, you can have the whole price back until it begins.
notice-event-cancelled =
    <b>{ $event }</b>, { $when }, has been cancelled. The whole price comes back to the card that paid by itself; you do not have to do anything.
notice-reminder =
    Soon: <b>{ $event }</b>
    { $when }
    { $place }
    { $seats }
    { $count ->
        [one] Have the code of your ticket at hand.
       *[other] Have the codes of your tickets at hand.
    }
notice-on-sale =
    Tickets for <b>{ $event }</b>, { $when }, are on sale from { $from }.
    { $place }
notice-seats-back =
    { $count ->
        [one] { $count } seat has
       *[other] { $count } seats have
    } come free for <b>{ $event }</b>, { $when }.
    { $place }
notice-offer =
    Held for you until { $until }: <b>{ $event }</b>
    { $when }
    { $place }
    { $seats }
    To pay: { $total }. After that they go to the next in line.
notice-subscription-started = Your subscription <b>{ $plan }</b> has begun. It is paid until { $until }.
notice-subscription-trial = Your trial of <b>{ $plan }</b> has begun. It is free until { $until }.
notice-subscription-charged = <b>{ $plan }</b>: { $amount } was paid. The subscription is paid until { $until }.
notice-subscription-charge-failed = <b>{ $plan }</b>: the payment was declined. Your benefits stay until { $grace }; please pay with another card before that.
notice-subscription-charge-failed-again = <b>{ $plan }</b>: the payment was declined. We try again on { $next }; your benefits stay until { $grace }. You can also pay with another card.
notice-subscription-charge-failed-card = <b>{ $plan }</b>: the payment was declined, and this card cannot be used any more. Your benefits stay until { $grace }; please enter another card before that.
notice-subscription-confirm = <b>{ $plan }</b>: your bank wants you to confirm the payment. Please do so by { $grace }.
notice-subscription-renewal = <b>{ $plan }</b> renews on { $at }: { $amount } will be charged. You can cancel before that.
notice-subscription-card = The card ending in { $last4 } will have expired when <b>{ $plan }</b> renews on { $at }. Please enter another one.
notice-subscription-cancelled = <b>{ $plan }</b> is cancelled: it ends on { $at }, and nothing more is charged.
notice-subscription-resumed = <b>{ $plan }</b> goes on: it renews on { $at }.
notice-subscription-plan = Your subscription is <b>{ $plan }</b> from { $at } on.
notice-subscription-plan-kept = The payment for the other plan was declined: your subscription stays <b>{ $plan }</b>.
notice-subscription-method = <b>{ $plan }</b> is paid with the card ending in { $last4 } from now on. If that was not you, write to us.
notice-subscription-lapsed = <b>{ $plan }</b> was not paid in time: its benefits have ended.
notice-subscription-ended = Your subscription <b>{ $plan }</b> has ended.
notice-subscription-refunded = <b>{ $plan }</b>: { $amount } is on its way back to the card that paid.
notice-subscription-refund-failed = <b>{ $plan }</b>: money could not be sent back by the bank. We are on it; you do not have to do anything.
notice-subscription-trial-refused = The trial of <b>{ $plan }</b> did not begin, since this card had one before. Nothing is charged unless you pay for the first month yourself.

# The bot's own words.
bot-hello = Hello! Link this chat with your account on the box office's pages, and your tickets and news come here.
bot-hello-linked = This chat is linked with the account { $email }. Send /help to see what I can do.
bot-help =
    /events – what is on
    /tickets – your tickets
    /alerts – what you want to be told of
    /stop – unlink this chat
    /help – this list
bot-open-site = Open the box office
bot-private-only = I only talk to one person at a time: write to me in a private chat, please.
bot-button-old = This button does nothing any more. Send /help to see what I can do.
bot-link-ask = Link this chat with the account { $email }? Its tickets and news come here then.
bot-link-ask-move = This chat is linked with another account. Link it with { $email } instead? News of the other account does not come here any more then.
bot-link-yes = Link
bot-link-no = Not mine
bot-linked = This chat is linked with the account { $email }. Send /help to see what I can do.
bot-link-refused = Nothing was linked, and nobody can use that link any more.
bot-link-unknown = I do not know this link. Ask for a new one on the box office's pages.
bot-link-expired = This link is more than ten minutes old. Ask for a new one on the box office's pages.
bot-link-used = This link was used already. Ask for a new one on the box office's pages.
bot-chats-max = This account has { $max } chats already, and can have no more. Unlink one of them first.
bot-not-linked = This chat is not linked with an account. Link it on the box office's pages.
bot-unlink = Unlink this chat
bot-unlinked = This chat is not linked any more. Nothing comes here until you link it again.
bot-events = <b>What is on</b>
bot-event =
    <b>{ $name }</b>
    { $date }
    { $venue }, { $city }
bot-events-none = Nothing is announced at the moment.
bot-tickets = <b>Your tickets</b>
bot-ticket =
    <b>{ $name }</b>
    { $date }
    { $venue }, { $city }
    { tickets }: { $seats }
bot-tickets-more = { $count ->
    [one] And one more order on the box office's pages.
   *[other] And { $count } more orders on the box office's pages.
 }
bot-tickets-none = You have no valid tickets for coming events.
bot-alerts = <b>Your alerts</b>
bot-alert = { $number }. <b>{ $subject }</b>: { $terms }
bot-alert-any = any event
bot-alert-on-sale = when tickets go on sale
bot-alert-seats-back = when seats come back
bot-alert-standing = seats that come back are offered to you
bot-alert-quantity = { $count ->
    [one] { $count } seat
   *[other] { $count } seats together
 }
bot-alert-price = up to { $price }
bot-alert-sections = in { $sections }
bot-alert-off = End no. { $number }
bot-alerts-none = You have no alerts. Make one on the box office's pages.
bot-alert-ended = The alert was ended.
bot-alert-gone = There is no such alert any more.
