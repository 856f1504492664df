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
