"""What a day of push losses is: pure, without files, network or clock."""
