# Dates, put together by `texts::date`: $day, $month (1 to 12), $weekday (1 is Monday), $year, $time.
date = { weekday }, { $day } { month } { $year } г., { $time }
weekday = { $weekday ->
    [1] понедельник
    [2] вторник
    [3] среда
    [4] четверг
    [5] пятница
    [6] суббота
   *[7] воскресенье
 }
month = { $month ->
    [1] января
    [2] февраля
    [3] марта
    [4] апреля
    [5] мая
    [6] июня
    [7] июля
    [8] августа
    [9] сентября
    [10] октября
    [11] ноября
   *[12] декабря
 }
tickets = { $count ->
    [one] { $count } билет
    [few] { $count } билета
   *[many] { $count } билетов
 }
# Notices: `notices/text.rs`. $event, $place and $when are the performance's.
seat = { $section }, ряд { $row }, место { $seat }
standing = { $section }, без места
notice-link-order = Открыть заказ
notice-link-pay = Оплатить
notice-link-event = Выбрать места
notice-link-subscription = Открыть подписку
notice-ticket =
    <b>{ $event }</b>
    { $when }
    { $seat }
    Покажите этот код на входе.
notice-order-paid =
    { $count ->
        [one] Ваш { $count } билет готов
        [few] Ваши { $count } билета готовы
       *[many] Ваши { $count } билетов готовы
    }: <b>{ $event }</b>
    { $when }
    { $place }
    { $seats }
    Оплачено: { $total }
notice-order-lost =
    Заказ на <b>{ $event }</b>, { $when }, не состоялся: эти места уже заняты. Деньги мы не берём; если они были списаны, они вернутся сами.
notice-order-refunded =
    Возвращаем { $amount } за <b>{ $event }</b>, { $when }, на карту, с которой был оплачен заказ.
notice-order-refunded-free =
    Билеты на <b>{ $event }</b>, { $when }, возвращены.
notice-refund-failed =
    Банк не смог вернуть { $amount } за <b>{ $event }</b>. Мы этим занимаемся, от вас ничего не нужно.
notice-event-moved =
    <b>{ $event }</b>: начало перенесено. Теперь { $when }.
    { $place }
    Билеты действительны на новую дату. Если она вам не подходит, до начала можно вернуть полную стоимость.
notice-event-replaced =
    <b>{ $event }</b>, { $when }: замена, выступает { $performer }.
    Билеты действительны. Если замена вам не подходит, до начала можно вернуть полную стоимость.
notice-event-moved-replaced =
    <b>{ $event }</b>: замена, выступает { $performer }, и начало перенесено. Теперь { $when }.
    { $place }
    Билеты действительны. Если это вам не подходит, до начала можно вернуть полную стоимость.
notice-event-cancelled =
    <b>{ $event }</b>, { $when }: мероприятие отменено. Полная стоимость сама вернётся на карту, с которой был оплачен заказ, от вас ничего не нужно.
notice-reminder =
    Скоро: <b>{ $event }</b>
    { $when }
    { $place }
    { $seats }
    { $count ->
        [one] Приготовьте код билета.
        [few] Приготовьте коды билетов.
       *[many] Приготовьте коды билетов.
    }
notice-on-sale =
    Билеты на <b>{ $event }</b>, { $when }, в продаже с: { $from }.
    { $place }
notice-seats-back =
    { $count ->
        [one] Освободилось { $count } место
        [few] Освободилось { $count } места
       *[many] Освободилось { $count } мест
    } на <b>{ $event }</b>, { $when }.
    { $place }
notice-offer =
    Для вас отложено до: { $until }. <b>{ $event }</b>
    { $when }
    { $place }
    { $seats }
    К оплате: { $total }. Потом места перейдут следующему в очереди.
notice-subscription-started = Подписка <b>{ $plan }</b> началась. Она оплачена до: { $until }.
notice-subscription-trial = Пробный период подписки <b>{ $plan }</b> начался. Бесплатно до: { $until }.
notice-subscription-charged = <b>{ $plan }</b>: оплачено { $amount }. Подписка оплачена до: { $until }.
notice-subscription-charge-failed = <b>{ $plan }</b>: платёж отклонён. Преимущества действуют до: { $grace }; до этого оплатите, пожалуйста, другой картой.
notice-subscription-charge-failed-again = <b>{ $plan }</b>: платёж отклонён. Следующая попытка: { $next }; преимущества действуют до: { $grace }. Можно оплатить и другой картой.
notice-subscription-charge-failed-card = <b>{ $plan }</b>: платёж отклонён, и этой картой платить больше нельзя. Преимущества действуют до: { $grace }; до этого укажите, пожалуйста, другую карту.
notice-subscription-confirm = <b>{ $plan }</b>: банк просит подтвердить платёж. Сделайте это, пожалуйста, до: { $grace }.
notice-subscription-renewal = <b>{ $plan }</b> продлится: { $at }. Будет списано { $amount }. До этого подписку можно отменить.
notice-subscription-card = Срок карты, которая заканчивается на { $last4 }, истечёт до продления <b>{ $plan }</b>: { $at }. Укажите, пожалуйста, другую.
notice-subscription-cancelled = Подписка <b>{ $plan }</b> отменена. Она закончится: { $at }; больше ничего не будет списано.
notice-subscription-resumed = Подписка <b>{ $plan }</b> продолжается. Следующее продление: { $at }.
notice-subscription-plan = Ваша подписка: <b>{ $plan }</b>, с: { $at }.
notice-subscription-plan-kept = Платёж за другой тариф отклонён: подписка остаётся прежней, <b>{ $plan }</b>.
notice-subscription-method = <b>{ $plan }</b> теперь оплачивается картой, которая заканчивается на { $last4 }. Если это были не вы, напишите нам.
notice-subscription-lapsed = Подписка <b>{ $plan }</b> не была оплачена вовремя: преимущества больше не действуют.
notice-subscription-ended = Подписка <b>{ $plan }</b> закончилась.
notice-subscription-refunded = <b>{ $plan }</b>: возвращаем { $amount } на карту, с которой была оплата.
notice-subscription-refund-failed = <b>{ $plan }</b>: банк не смог вернуть деньги. Мы этим занимаемся, от вас ничего не нужно.
notice-subscription-trial-refused = Пробный период подписки <b>{ $plan }</b> не начался: с этой картой он уже был. Ничего не будет списано, если вы сами не оплатите первый месяц.

# The bot's own words.
bot-hello = Здравствуйте! Привяжите этот чат к своему аккаунту на страницах кассы, и билеты и новости будут приходить сюда.
bot-hello-linked = Этот чат привязан к аккаунту { $email }. Отправьте /help, чтобы узнать, что я умею.
bot-help =
    /events – афиша
    /tickets – ваши билеты
    /alerts – о чём вам сообщать
    /stop – отвязать этот чат
    /help – этот список
bot-open-site = Открыть кассу
bot-private-only = Я разговариваю только с одним человеком: напишите мне, пожалуйста, в личный чат.
bot-button-old = Эта кнопка больше ничего не делает. Отправьте /help, чтобы узнать, что я умею.
bot-link-ask = Привязать этот чат к аккаунту { $email }? Тогда билеты и новости будут приходить сюда.
bot-link-ask-move = Этот чат привязан к другому аккаунту. Привязать его вместо этого к { $email }? Новости другого аккаунта приходить сюда перестанут.
bot-link-yes = Привязать
bot-link-no = Это не мой
bot-linked = Этот чат привязан к аккаунту { $email }. Отправьте /help, чтобы узнать, что я умею.
bot-link-refused = Ничего не привязано, и этой ссылкой больше никто не воспользуется.
bot-link-unknown = Я не знаю этой ссылки. Запросите новую на страницах кассы.
bot-link-expired = Этой ссылке больше десяти минут. Запросите новую на страницах кассы.
bot-link-used = Эта ссылка уже использована. Запросите новую на страницах кассы.
bot-chats-max = К этому аккаунту уже привязано чатов: { $max }, и больше нельзя. Сначала отвяжите один из них.
bot-not-linked = Этот чат не привязан к аккаунту. Привяжите его на страницах кассы.
bot-unlink = Отвязать этот чат
bot-unlinked = Этот чат больше не привязан. Пока вы не привяжете его снова, сюда ничего не придёт.
bot-events = <b>Афиша</b>
bot-event =
    <b>{ $name }</b>
    { $date }
    { $venue }, { $city }
bot-events-none = Пока ничего не объявлено.
bot-tickets = <b>Ваши билеты</b>
bot-ticket =
    <b>{ $name }</b>
    { $date }
    { $venue }, { $city }
    { tickets }: { $seats }
bot-tickets-more = { $count ->
    [one] И ещё { $count } заказ на страницах кассы.
    [few] И ещё { $count } заказа на страницах кассы.
   *[many] И ещё { $count } заказов на страницах кассы.
 }
bot-tickets-none = У вас нет действующих билетов на будущие мероприятия.
bot-alerts = <b>Ваши оповещения</b>
bot-alert = { $number }. <b>{ $subject }</b>: { $terms }
bot-alert-any = любое мероприятие
bot-alert-on-sale = когда начнётся продажа
bot-alert-seats-back = когда освободятся места
bot-alert-standing = освободившиеся места предложат вам
bot-alert-quantity = { $count ->
    [one] { $count } место
    [few] { $count } места рядом
   *[many] { $count } мест рядом
 }
bot-alert-price = не дороже { $price }
bot-alert-sections = в секторах: { $sections }
bot-alert-off = Отменить № { $number }
bot-alerts-none = У вас нет оповещений. Создайте их на страницах кассы.
bot-alert-ended = Оповещение отменено.
bot-alert-gone = Такого оповещения больше нет.
