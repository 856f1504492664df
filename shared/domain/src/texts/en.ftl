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
